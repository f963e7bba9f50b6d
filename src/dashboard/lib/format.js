// Numbers and times as people read them. A figure that is not known is a dash, never a 0.

const NONE = "–";

const known = (value) => value !== undefined && value !== null && Number.isFinite(value);

/** `12,345`. */
export function count(value) {
  return known(value) ? Math.round(value).toLocaleString("en-US") : NONE;
}

/** `950`, `12.3k`, `4.56M`. */
export function tokens(value) {
  if (!known(value)) return NONE;
  if (value < 1000) return String(Math.round(value));
  for (const [size, letter] of [[1e3, "k"], [1e6, "M"], [1e9, "G"], [1e12, "T"]]) {
    const scaled = value / size;
    if (scaled < 999.5 || letter === "T") {
      return scaled.toFixed(scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") + letter;
    }
  }
}

/** `$0.0135`: four places below a dollar, more where it is less than that. */
export function money(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "$0";
  if (size < 0.0001) return `$${value.toFixed(6)}`;
  if (size < 1) return `$${value.toFixed(4)}`;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

/** What something cost that holds `unpriced` calls: nothing known is not nothing. */
export function costOf({ cost_usd: cost, unpriced }) {
  return unpriced > 0 && !cost ? "no price" : money(cost);
}

/** `850 ms`, `12.3 s`, `4 m 05 s`, `2 h 01 m`, `3 d 04 h`. */
export function duration(millis) {
  if (!known(millis)) return NONE;
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const seconds = millis / 1000;
  if (millis > 0 && millis < 1) return `${millis.toFixed(2)} ms`;
  if (millis < 1000) return `${Math.round(millis)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d ${two((seconds % 86_400) / 3600)} h`;
}

/** `12.3 MiB`. */
export function bytes(value) {
  if (!known(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** A share of 1 as `12 %`. */
export function percent(share) {
  if (!known(share)) return NONE;
  const value = share * 100;
  return `${value === 0 ? 0 : value < 0.095 ? "<0.1" : value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}

const pad = (number, width = 2) => String(number).padStart(width, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `18:50:08` today, else `24 Nov 18:50`, in this machine's zone. */
export function moment(time, now = new Date()) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return NONE;
  const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  if (at.toDateString() === now.toDateString()) return `${clock}:${pad(at.getSeconds())}`;
  const day = `${at.getDate()} ${MONTHS[at.getMonth()]}`;
  return at.getFullYear() === now.getFullYear() ? `${day} ${clock}` : `${day} ${at.getFullYear()} ${clock}`;
}

/** `18:50:08.123`. */
export function precise(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return NONE;
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`;
}

/** The whole time with its zone, for those who look closer. */
export function full(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return String(time);
  const minutes = -at.getTimezoneOffset();
  const zone = minutes === 0 ? "Z" : `${minutes < 0 ? "-" : "+"}${pad(Math.floor(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${precise(at)}${zone}`;
}

/** `just now`, `12 s ago`, `3 h ago`. */
export function ago(time, now = Date.now()) {
  const seconds = Math.round((now - new Date(time).getTime()) / 1000);
  if (!Number.isFinite(seconds)) return NONE;
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} days ago`;
}

/** `1 call`, `2 calls`. */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
