// What a user may set, read once: plugin configuration first, environment variables over it.
// A bad value costs one line in the log and its default is used; it never stops the agent.
// The token's value is in no message.

const DEFAULT_ENDPOINT = "http://127.0.0.1:9090";

/** Name in the configuration, variable, default, and how a value is read (undefined: not usable). */
const SETTINGS = [
  ["endpoint", "OPENCLAW_TRACE_ENDPOINT", DEFAULT_ENDPOINT, readEndpoint, "an http or https address without a query"],
  ["token", "OPENCLAW_TRACE_TOKEN", "", readToken, "one line of printable ASCII"],
  ["content", "OPENCLAW_TRACE_CONTENT", true, readSwitch, "on or off"],
  ["sample", "OPENCLAW_TRACE_SAMPLE", 1, readShare, "a number from 0 to 1"],
  ["maxQueueEvents", "OPENCLAW_TRACE_MAX_QUEUE_EVENTS", 2000, readCount(1, 1_000_000), "a whole number from 1 to 1000000"],
  // The least is what one ordinary event needs; below it every event would be dropped.
  ["maxQueueBytes", "OPENCLAW_TRACE_MAX_QUEUE_BYTES", 4 << 20, readCount(64 << 10, 1 << 30), "a whole number of bytes from 65536"],
  // Input and output of one event must fit in a body of the sidecar, 1 MiB by default.
  ["maxContentBytes", "OPENCLAW_TRACE_MAX_CONTENT_BYTES", 256 << 10, readCount(256, 400_000), "a whole number of bytes from 256 to 400000"],
];

/**
 * @param {unknown} config what stands under `plugins.entries.openclaw-trace.config`
 * @param {Record<string, string | undefined>} env
 * @returns {{ settings: Record<string, any>, problems: string[] }}
 */
export function readSettings(config, env) {
  const given = config !== null && typeof config === "object" ? config : {};
  const settings = {};
  const problems = [];
  for (const [name, variable, fallback, read, wanted] of SETTINGS) {
    settings[name] = fallback;
    const sources = [
      [`config.${name}`, given[name]],
      [variable, env[variable] === "" ? undefined : env[variable]],
    ];
    for (const [source, raw] of sources) {
      if (raw === undefined || raw === null) continue;
      const value = read(raw);
      if (value === undefined) {
        problems.push(`${source} is not ${wanted}; ${name === "token" ? "no token" : JSON.stringify(settings[name])} is used`);
      } else {
        settings[name] = value;
      }
    }
  }
  const known = new Set(SETTINGS.map(([name]) => name));
  for (const name of Object.keys(given)) {
    if (!known.has(name)) problems.push(`config.${name} is no setting; known are ${[...known].join(", ")}`);
  }
  return { settings, problems };
}

function readEndpoint(raw) {
  if (typeof raw !== "string") return undefined;
  let url;
  try {
    url = new URL(raw.trim());
  } catch {
    return undefined;
  }
  if ((url.protocol !== "http:" && url.protocol !== "https:") || url.search || url.hash || url.username || url.password) {
    return undefined;
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

// Other characters would make the request itself throw, and name the token in the error.
function readToken(raw) {
  return typeof raw === "string" && /^[\x21-\x7e]*$/.test(raw.trim()) ? raw.trim() : undefined;
}

function readSwitch(raw) {
  if (typeof raw === "boolean") return raw;
  const text = String(raw).trim().toLowerCase();
  if (["on", "true", "1", "yes"].includes(text)) return true;
  if (["off", "false", "0", "no"].includes(text)) return false;
  return undefined;
}

function readShare(raw) {
  const value = readNumber(raw);
  return value !== undefined && value >= 0 && value <= 1 ? value : undefined;
}

function readCount(least, most) {
  return (raw) => {
    const value = readNumber(raw);
    return value !== undefined && Number.isInteger(value) && value >= least && value <= most ? value : undefined;
  };
}

function readNumber(raw) {
  if (typeof raw === "number") return Number.isFinite(raw) ? raw : undefined;
  if (typeof raw !== "string" || raw.trim() === "") return undefined;
  const value = Number(raw);
  return Number.isFinite(value) ? value : undefined;
}
