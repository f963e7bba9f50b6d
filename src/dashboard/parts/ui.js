// The small things that views are made of.

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { ago, full, moment } from "../lib/format.js";
import { failed, kindClass, kindLabel } from "../lib/kinds.js";
import { go, href, setParams } from "../lib/route.js";
import { line } from "../lib/text.js";
import { Icon } from "./icon.js";

/** A time, with all of it for those who point at it. */
export function Time({ at, short = moment }) {
  if (!at) return html`<span class="faint">–</span>`;
  return html`<time datetime=${at} title=${full(at)}>${short(at)}</time>`;
}

export function Ago({ at, now }) {
  return html`<${Time} at=${at} short=${(time) => ago(time, now)} />`;
}

/** Stored text in one line; what is cut off can be read by pointing at it. */
export function Text({ of, most = 160, class: name = "" }) {
  const shown = line(of, most);
  return html`<span class=${`t ${name}`} title=${line(of, 600)}>${shown}</span>`;
}

export function Kind({ kind }) {
  return html`<span class=${`kind k-${kindClass(kind)}`}><${Icon} name=${kindClass(kind)} size="12" />${line(kindLabel(kind), 40)}</span>`;
}

export function Status({ event }) {
  if (failed(event)) return html`<span class="badge bad"><${Icon} name="error" size="11" />failed</span>`;
  if (event.status === "ok") return html`<span class="badge ok"><${Icon} name="check" size="11" />ok</span>`;
  return html`<span class="badge">${line(event.status ?? "open", 20)}</span>`;
}

/** A figure with its name, what it is made of, and perhaps a picture. */
export function Tile({ label, value, note, tone = "", link, children }) {
  const inner = html`<span class="tile-label">${label}</span><span class="tile-value">${value}</span>
    ${note && html`<span class="tile-note">${note}</span>`}${children}`;
  return link ? html`<a class=${`tile ${tone}`} href=${link}>${inner}</a>` : html`<div class=${`tile ${tone}`}>${inner}</div>`;
}

/** How much of a limit is used. */
export function Meter({ share, label }) {
  const known = Number.isFinite(share);
  const width = `${Math.max(0, Math.min(1, known ? share : 0)) * 100}%`;
  const tone = !known ? "" : share >= 0.9 ? "bad" : share >= 0.75 ? "warn" : "";
  const value = known ? Math.round(share * 100) : 0;
  return html`<span class=${`meter ${tone}`} role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${value}>
    <span style=${{ width }}></span></span>`;
}

export function Panel({ title, aside, children, class: name = "", id }) {
  return html`<section class=${`panel ${name}`} aria-labelledby=${id}>
    ${title && html`<header class="panel-head"><h2 id=${id}>${title}</h2>${aside}</header>`}${children}
  </section>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;
}

/** Why there is no answer, beside what was known before. */
export function Trouble({ error, again }) {
  if (!error || error.status === 401) return null;
  return html`<div class="trouble" role="alert"><${Icon} name="error" /><span>${line(error.message, 300)}</span>
    ${again && html`<button onClick=${again}>Try again</button>`}</div>`;
}

/** Grey lines where an answer will stand. */
export function Waiting({ rows = 4 }) {
  return html`<div class="waiting" role="status" aria-label="Loading">${Array.from({ length: rows }, (_, at) => html`<span key=${at}></span>`)}</div>`;
}

const RANGES = ["1h", "6h", "24h", "7d", "30d"];

/** What time is looked at. It stands in the address; a range of one's own (a zoom) can be taken back. */
export function Range({ params, ranges = RANGES, fallback = "24h", all = false }) {
  const from = params.get("from") ?? fallback;
  const own = from && !ranges.includes(from);
  const pick = (value) => setParams({ from: value === fallback ? null : value, to: null });
  return html`<div class="range" role="group" aria-label="Time range">
    ${own && html`<button class="range-own" title="Back to the whole range" onClick=${() => pick(fallback)}>
      ${/^\d+[smhd]$/.test(from) ? from : moment(from)} – ${params.get("to") ? moment(params.get("to")) : "now"} <${Icon} name="close" size="10" /></button>`}
    <div class="segments">${ranges.map((value) => html`<button key=${value} aria-pressed=${from === value} onClick=${() => pick(value)}>${value}</button>`)}
    ${all && html`<button aria-pressed=${!from} onClick=${() => pick("")}>all</button>`}</div>
  </div>`;
}

/** A field whose text goes into the address, a moment after the last key. */
export function Filter({ name, params, label, placeholder, wide }) {
  const there = params.get(name) ?? "";
  const [text, setText] = useState(there);
  const timer = useRef();
  useEffect(() => setText(there), [there]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const change = (value) => {
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setParams({ [name]: value || null }, { replace: true }), 350);
  };
  return html`<label class=${`field ${wide ? "wide" : ""}`}><span class="sr">${label}</span>
    <input type="search" value=${text} placeholder=${placeholder ?? label} maxlength="200" spellcheck="false"
      onInput=${(event) => change(event.target.value)} /></label>`;
}

export function Choice({ name, params, label, options, onChange }) {
  const value = params?.get(name) ?? "";
  const change = onChange ?? ((picked) => setParams({ [name]: picked || null }));
  return html`<label class="field"><span class="sr">${label}</span>
    <select value=${value} onChange=${(event) => change(event.target.value)}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select></label>`;
}

/** Copies a text; says so for a moment. */
export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? await text() : text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    } catch {
      // No permission: the text can still be marked and copied by hand.
    }
  };
  return html`<button class="quiet" onClick=${copy}><${Icon} name=${done ? "check" : "copy"} size="12" />${done ? "Copied" : label}</button>`;
}

/** The end of a list: what was searched, and how to go on. */
export function More({ list, noun }) {
  if (list.busy && list.begun) {
    return html`<div class="more" role="status"><span class="spin"></span>
      ${list.scannedTo ? html`searched back to <${Time} at=${list.scannedTo} />` : "searching"}<button onClick=${list.stop}>Stop</button></div>`;
  }
  if (list.next) return html`<div class="more"><button onClick=${list.more}>Load older ${noun}</button></div>`;
  return null;
}

/** A row that leads somewhere: the pointer may hit any of it, the keyboard its first link. */
export function toRow(target) {
  return (event) => {
    if (event.target.closest("a, button, input, select") || String(getSelection()) !== "") return;
    if (event.metaKey || event.ctrlKey) window.open(target);
    else go(target);
  };
}

export const runLink = (id, params) => href(["run", id], params);
export const sessionLink = (id) => href(["session", id]);
