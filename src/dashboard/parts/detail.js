// One event whole: what it was, what went in, what came out. Its body is asked for when it is opened, never before.

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { bytes, count, duration, full, money, plural, precise, tokens } from "../lib/format.js";
import { useAsk } from "../lib/hooks.js";
import { line, visible } from "../lib/text.js";
import { Body, JsonText, LongText } from "./body.js";
import { Icon } from "./icon.js";
import { Copy, Kind, Status, Text, Trouble, Waiting, runLink, sessionLink } from "./ui.js";

const TABS = [["input", "Input"], ["output", "Output"], ["attributes", "Attributes"], ["json", "JSON"]];

/** Kinds whose texts people or models wrote; what tools say is aligned by the letter. */
const SPOKEN = ["run", "message", "llm_call", "subagent", "session"];

// Which side of an event is read stays the choice while one goes from event to event.
let remembered = "input";

/** `row` is what the list knows already; it is shown while the rest is on its way. */
export function Detail({ id, row, find, onClose, closeLabel = "Close", inRun, overlay, focus }) {
  const { data, error, again } = useAsk(id && `/api/v1/events/${encodeURIComponent(id)}`);
  const event = data ?? row;
  const provider = row?.provider ?? data?.attributes?.["gen_ai.provider.name"];
  const box = useRef(null);
  useEffect(() => {
    if (focus) box.current?.focus();
  }, [focus, id]);
  const keys = (pressed) => {
    if (pressed.key === "Tab" && overlay) return stayInside(pressed, box.current);
    if (pressed.key !== "Escape") return;
    pressed.stopPropagation();
    onClose();
  };
  return html`<section class=${`detail ${overlay ? "overlay" : ""}`} role=${overlay ? "dialog" : "region"} aria-modal=${overlay ? "true" : undefined}
      aria-label="Event" tabindex="-1" ref=${box} onKeyDown=${keys}>
    <header class="detail-head">
      <div class="detail-title">${event && html`<${Kind} kind=${event.kind} />`}${provider && html`<span class="faint"> · <${Text} of=${provider} most="40" /></span>`}
        <h2 class="t" title=${line(event?.name ?? "", 600)}>${line(event?.name ?? (event ? "no name" : "…"), 120)}</h2></div>
      <button class="icon-button" onClick=${onClose} aria-label=${closeLabel} title=${`${closeLabel} (Esc)`}><${Icon} name="close" /></button>
    </header>
    <${Trouble} error=${error} again=${again} />
    ${event && html`<${Facts} event=${event} row=${row} inRun=${inRun} />`}
    ${event?.error && html`<div class="error-box"><${Icon} name="error" /><${LongText} text=${event.error} find=${find} class="prose" /></div>`}
    ${data ? html`<${Sides} event=${data} find=${find} />` : !error && html`<${Waiting} rows="6" />`}
  </section>`;
}

/** What covers the page keeps the focus: what lies below cannot be seen. */
function stayInside(pressed, box) {
  const all = [...box.querySelectorAll("a[href], button, input, [tabindex='0']")].filter((one) => one.offsetParent !== null && one.tabIndex >= 0);
  const [first, last] = [all[0], all.at(-1)];
  const at = document.activeElement;
  if (pressed.shiftKey ? at !== first && at !== box : at !== last) return;
  pressed.preventDefault();
  (pressed.shiftKey ? last : first)?.focus();
}

function Facts({ event, row, inRun }) {
  const given = event.attributes ?? {};
  const input = row?.input_tokens ?? given["gen_ai.usage.input_tokens"];
  const output = row?.output_tokens ?? given["gen_ai.usage.output_tokens"];
  const cached = row?.cached_tokens ?? given["gen_ai.usage.cache_read.input_tokens"];
  const cost = row?.cost_usd ?? given.cost_usd;
  const unpriced = row?.unpriced ? row.unpriced === true || row.unpriced > 0 : given["openclaw_trace.cost.source"] === "unpriced";
  const facts = [
    ["Status", html`<${Status} event=${event} />`],
    ["Started", html`<time datetime=${event.timestamp} title=${full(event.timestamp)}>${precise(event.timestamp)}</time>`],
    event.duration_ms !== undefined && ["Duration", duration(event.duration_ms)],
    cost !== undefined && cost !== null ? ["Cost", money(cost)] : unpriced && ["Cost", html`<span class="badge warn">no price known</span>`],
    (input !== undefined || output !== undefined) && ["Tokens", html`${count(input)} in ${cached > 0 ? html`<span class="faint">(${tokens(cached)} cached)</span> ` : ""}· ${count(output)} out`],
    !inRun && event.run_id && ["Run", html`<a href=${runLink(event.run_id, { span: event.trace_id })}><${Text} of=${event.run_id} most="28" class="mono" /></a>`],
    !inRun && event.session_id && ["Session", html`<a href=${sessionLink(event.session_id)}><${Text} of=${event.session_id} most="28" class="mono" /></a>`],
  ].filter(Boolean);
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Sides({ event, find }) {
  const sides = TABS.filter(([key]) => key === "json" || hasContent(event[key]));
  const [chosen, setChosen] = useState(remembered);
  // Whoever seeks a text sees the side that holds it.
  useEffect(() => {
    const sought = find?.trim().toLowerCase();
    if (!sought) return;
    const holds = (key) => (JSON.stringify(event[key]) ?? "").toLowerCase().includes(sought);
    const side = ["input", "output", "attributes"].filter((key) => hasContent(event[key])).find(holds);
    if (side && !(hasContent(event[chosen]) && holds(chosen))) setChosen(side);
  }, [find, event]);
  const [raw, setRaw] = useState(false);
  const tab = sides.some(([key]) => key === chosen) ? chosen : sides[0][0];
  const choose = (key) => {
    remembered = key;
    setChosen(key);
  };
  const keys = (pressed) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[pressed.key];
    if (!step) return;
    pressed.preventDefault();
    const place = sides.findIndex(([key]) => key === tab);
    const [next] = sides[(place + step + sides.length) % sides.length];
    choose(next);
    pressed.currentTarget.querySelector(`[data-tab=${next}]`)?.focus();
  };
  const whole = () => JSON.stringify(event, null, 2);
  const text = () => (typeof event[tab] === "string" ? event[tab] : JSON.stringify(event[tab], null, 2));
  return html`<div class="sides">
    <div class="tabs"><div role="tablist" aria-label="Parts of the event" onKeyDown=${keys}>
      ${sides.map(([key, label]) => html`<button key=${key} role="tab" id=${`tab-${key}`} data-tab=${key} aria-selected=${key === tab} aria-controls="tab-panel" tabindex=${key === tab ? 0 : -1} onClick=${() => choose(key)}>
        ${label}${size(event, key)}</button>`)}</div>
      <span class="grow"></span>
      ${(tab === "input" || tab === "output") && html`<button class="quiet" aria-pressed=${raw} onClick=${() => setRaw(!raw)} title="As it was stored">Raw</button>`}
      <${Copy} text=${tab === "json" ? whole : text} label=${tab === "json" ? "Copy as JSON" : "Copy"} />
    </div>
    <div class="side-panel" role="tabpanel" id="tab-panel" aria-labelledby=${`tab-${tab}`} key=${`${event.trace_id} ${tab}`} tabindex="0">
      ${tab === "attributes" ? html`<${Attributes} of=${event.attributes} find=${find} />`
        : tab === "json" ? html`<${JsonText} value=${event} find=${find} />`
        : html`<${Body} value=${event[tab]} find=${find} raw=${raw} prose=${SPOKEN.includes(event.kind)} />`}
    </div></div>`;
}

function hasContent(value) {
  return value !== undefined && value !== null && !(typeof value === "object" && Object.keys(value).length === 0);
}

function size(event, key) {
  if (key === "attributes") return html` <span class="faint">${Object.keys(event.attributes).length}</span>`;
  if (key === "json") return "";
  const value = event[key];
  const length = typeof value === "string" ? value.length : JSON.stringify(value).length;
  return length >= 4096 ? html` <span class="faint">${bytes(length)}</span>` : "";
}

function Attributes({ of, find }) {
  const all = Object.entries(of).sort(([a], [b]) => (a < b ? -1 : 1));
  return html`<table class="attributes" aria-label=${plural(all.length, "attribute")}><tbody>${all.map(([name, value]) => html`<tr key=${name}>
    <th scope="row" class="t">${line(name, 200)}</th><td>${typeof value === "object" && value !== null ? html`<${JsonText} value=${value} find=${find} />` : html`<${LongText} text=${visible(value)} find=${find} />`}</td></tr>`)}</tbody></table>`;
}
