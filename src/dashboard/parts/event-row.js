// One event in a list of events.

import { html } from "../vendor/vendor.js";
import { duration, precise } from "../lib/format.js";
import { failed, kindClass } from "../lib/kinds.js";
import { gist } from "../lib/messages.js";
import { line } from "../lib/text.js";
import { Icon } from "./icon.js";
import { Kind, Text, Time } from "./ui.js";

/** Up and down go from event to event, as in a list of mails. */
export function moveByArrows(pressed) {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[pressed.key];
  const button = step && pressed.target.closest("li")?.[step]?.querySelector("button");
  if (!button) return;
  pressed.preventDefault();
  button.focus();
}

export function EventRow({ event, selected, onOpen, withDay }) {
  const bad = failed(event);
  const said = event.error ?? gist(event.output_preview || event.input_preview);
  return html`<li class=${`event k-${kindClass(event.kind)} ${bad ? "bad" : ""} ${selected ? "selected" : ""}`}>
    <button class="event-button" aria-expanded=${selected} onClick=${() => onOpen(event)}>
      <span class="event-time"><${Time} at=${event.timestamp} short=${withDay ? undefined : (at) => precise(at).slice(0, 8)} /></span>
      <${Kind} kind=${event.kind} />
      <span class="event-name">${bad && html`<span class="row-bad" role="img" aria-label="failed"><${Icon} name="error" size="12" /></span>`}<${Text} of=${event.name ?? ""} most="80" /></span>
      <span class=${`t event-said ${event.error ? "bad-text" : "faint"}`}>${line(said, 200)}</span>
      <span class="event-duration">${event.duration_ms === undefined ? "" : duration(event.duration_ms)}</span>
    </button></li>`;
}
