// All events, by filter, latest first.

import { html, useState } from "../vendor/vendor.js";
import { address, download, token } from "../lib/api.js";
import { useMedia, usePages } from "../lib/hooks.js";
import { KINDS, kindLabel } from "../lib/kinds.js";
import { setParams } from "../lib/route.js";
import { line } from "../lib/text.js";
import { Detail } from "../parts/detail.js";
import { EventRow, moveByArrows } from "../parts/event-row.js";
import { Icon } from "../parts/icon.js";
import { Choice, Empty, Filter, More, Range, Trouble, Waiting } from "../parts/ui.js";

const NARROWING = ["kind", "status", "model", "tool", "session", "run", "agent", "q", "from", "to"];

export function EventsView({ params }) {
  const asked = Object.fromEntries(NARROWING.map((name) => [name, params.get(name)]));
  const list = usePages("/api/v1/events", { ...asked, limit: 100 }, "events");
  const wide = useMedia("(min-width: 1000px)");
  const open = params.get("event");
  const narrowed = NARROWING.filter((name) => asked[name]);
  const show = (event) => setParams({ event: event.trace_id === open ? null : event.trace_id }, { replace: true });
  const close = () => setParams({ event: null }, { replace: true });
  return html`<div class="page-head"><h1>Events</h1><${Range} params=${params} fallback="" all=${true} /></div>
    <div class="filters">
      <${Filter} name="q" params=${params} label="Search events" placeholder="Text in name, error, input or output" wide=${true} />
      <${Choice} name="kind" params=${params} label="Kind" options=${[["", "All kinds but metrics"], ["*", "Every kind"], ...KINDS.map((kind) => [kind, kindLabel(kind)])]} />
      <${Choice} name="status" params=${params} label="Status" options=${[["", "Any status"], ["error", "Failed"], ["ok", "Succeeded"]]} />
      <${Filter} name="model" params=${params} label="Model" />
      <${Filter} name="tool" params=${params} label="Tool" />
      ${["session", "run", "agent"].filter((name) => asked[name]).map((name) => html`<button key=${name} class="chip" title="Take this filter away" onClick=${() => setParams({ [name]: null })}>
        ${name} <span class="t mono">${line(asked[name], 24)}</span><${Icon} name="close" size="10" /></button>`)}
      <span class="grow"></span><${Export} asked=${asked} />
    </div>
    <${Trouble} error=${list.error} again=${list.again} />
    <div class=${`split ${open && wide ? "with-detail" : ""}`}>
      <div>
        ${list.items.length > 0 && html`<ul class="panel events" onKeyDown=${moveByArrows} aria-label="Events">${list.items.map((event) => html`<${EventRow} key=${event.trace_id} event=${event} selected=${event.trace_id === open} onOpen=${show} withDay=${true} />`)}</ul>`}
        ${!list.begun && !list.error && !list.scannedTo && html`<${Waiting} rows="10" />`}
        ${list.begun && !list.busy && !list.error && list.items.length === 0 && !list.next && (narrowed.length > 0
          ? html`<${Empty} title="No event fits"><p>Widen the time, or <button class="link-button" onClick=${() => setParams(Object.fromEntries(NARROWING.map((name) => [name, null])))}>take all filters away</button>.</p></${Empty}>`
          : html`<${Empty} title="No events yet"><p>Send one, or point OpenClaw at <code>http://127.0.0.1:9090</code>.</p></${Empty}>`)}
        <${More} list=${list} noun="events" />
      </div>
      ${open && html`<${Detail} id=${open} row=${list.items.find((event) => event.trace_id === open)} find=${asked.q ?? ""} onClose=${close} overlay=${!wide} focus=${!wide} />`}
    </div>`;
}

/** Forms of a download, and what the file is called. */
const NAMES = { ndjson: "events.ndjson", csv: "events.csv", otlp: "events.otlp.ndjson" };

function Export({ asked }) {
  const [error, setError] = useState();
  const [busy, setBusy] = useState(false);
  const save = async (format) => {
    setBusy(true);
    setError(undefined);
    try {
      await download({ ...asked, format }, NAMES[format]);
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return html`<div class="export"><${Icon} name="download" />Export ${Object.keys(NAMES).map((format) => (token()
    ? html`<button key=${format} class="quiet" disabled=${busy} onClick=${() => save(format)}>${format.toUpperCase()}</button>`
    : html`<a key=${format} class="quiet" href=${address("/api/v1/export", { ...asked, format })} download=${NAMES[format]}>${format.toUpperCase()}</a>`))}
    ${error && html`<span class="bad-text" role="alert">${line(error.message, 80)}</span>`}</div>`;
}
