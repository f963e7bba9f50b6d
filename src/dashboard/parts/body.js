// What went in and what came out: a conversation, JSON, or text. Long ones are cut, with a button for the rest.

import { html, useMemo, useState } from "../vendor/vendor.js";
import { bytes, plural } from "../lib/format.js";
import { conversation, readBody } from "../lib/messages.js";
import { beginning, hits, line, visible } from "../lib/text.js";

/** Characters of a text that are shown at first, and at most (a browser must lay them out). */
const FIRST = 4000;
const MOST = 1_000_000;
/** Messages that are shown at first: the last ones, since they are what is new. */
const MESSAGES = 12;

/** A text with what is sought in it marked. */
function Marked({ text, find }) {
  if (!find) return text;
  return hits(text, find).map(({ text: part, hit }, at) => (hit ? html`<mark key=${at}>${part}</mark>` : part));
}

export function LongText({ text, find, class: name = "" }) {
  const [all, setAll] = useState(false);
  const safe = useMemo(() => visible(text), [text]);
  const most = all ? MOST : find && safe.length < 64_000 ? MOST : FIRST;
  const part = beginning(safe, most);
  return html`<div class=${`long ${name}`}><pre tabindex="0">${html`<${Marked} text=${part} find=${find} />`}${part.length < safe.length && "…"}</pre>
    ${part.length < safe.length && !all && html`<button class="quiet" onClick=${() => setAll(true)}>Show all (${bytes(safe.length)})</button>`}
    ${part.length < safe.length && all && html`<p class="faint">The first ${bytes(MOST)} of ${bytes(safe.length)}; copy or export it for the rest.</p>`}</div>`;
}

// A JSON text's strings (with the colon where one is a key), numbers and words.
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;

function coloured(text, find) {
  const out = [];
  let last = 0;
  for (const found of text.matchAll(TOKEN)) {
    if (found.index > last) out.push(text.slice(last, found.index));
    const kind = found[1] ? (found[2] ? "key" : "str") : found[3] ? "num" : "word";
    out.push(html`<span class=${`j-${kind}`}><${Marked} text=${found[1] ?? found[0]} find=${find} /></span>`);
    if (found[2]) out.push(found[2]);
    last = found.index + found[0].length;
  }
  out.push(text.slice(last));
  return out;
}

export function JsonText({ value, find }) {
  const [all, setAll] = useState(false);
  // Line ends inside of strings stay `\n`, and what cannot be seen is escaped, so that what is shown is still one JSON.
  const text = useMemo(() => visible(JSON.stringify(value, null, 2) ?? "null"), [value]);
  const part = beginning(text, all ? MOST : find && text.length < 64_000 ? MOST : FIRST);
  const shown = useMemo(() => (part.length > 200_000 ? part : coloured(part, find)), [part, find]);
  return html`<div class="long"><pre class="json" tabindex="0">${shown}${part.length < text.length && "…"}</pre>
    ${part.length < text.length && !all && html`<button class="quiet" onClick=${() => setAll(true)}>Show all (${bytes(text.length)})</button>`}</div>`;
}

/** An input or output. */
export function Body({ value, find, raw, prose }) {
  const body = useMemo(() => readBody(value), [value]);
  const talk = useMemo(() => conversation(body), [body]);
  if (raw) return typeof value === "string" ? html`<${LongText} text=${value} find=${find} />` : html`<${JsonText} value=${value} find=${find} />`;
  if (talk) return html`<${Talk} talk=${talk} find=${find} />`;
  if (typeof body === "string") return html`<${LongText} text=${body} find=${find} class=${prose ? "prose" : ""} />`;
  return html`<${JsonText} value=${body} find=${find} />`;
}

function Talk({ talk, find }) {
  const [all, setAll] = useState(false);
  const hidden = all || find ? 0 : Math.max(0, talk.messages.length - MESSAGES);
  return html`<div class="talk">
    ${talk.leftOut > 0 && html`<p class="faint">${plural(talk.leftOut, "earlier message")} of the conversation ${talk.leftOut === 1 ? "was" : "were"} not kept.</p>`}
    ${hidden > 0 && html`<button class="quiet" onClick=${() => setAll(true)}>Show ${hidden} earlier messages</button>`}
    ${talk.messages.slice(hidden).map((message, at) => html`<${Message} key=${at + hidden} message=${message} find=${find} />`)}
    ${talk.rest && html`<div class="talk-rest"><span class="part-label">Beside it</span><${JsonText} value=${talk.rest} find=${find} /></div>`}
  </div>`;
}

const ROLES = { user: "User", assistant: "Assistant", system: "System", developer: "Developer", tool: "Tool result", toolResult: "Tool result" };

function Message({ message, find }) {
  const known = message.isResult ? "tool" : ["user", "assistant", "system"].includes(message.role) ? message.role : "other";
  // A system prompt is long and seldom what is looked for.
  const [open, setOpen] = useState(known !== "system");
  const body = html`${message.parts.map((part, at) => html`<${Part} key=${at} part=${part} find=${find} />`)}
    ${message.parts.length === 0 && html`<p class="faint">nothing</p>`}`;
  return html`<article class=${`message m-${known}`}>
    <header><span class="role">${line(ROLES[message.role] ?? message.role, 40)}</span>
      ${message.name && html`<span class="t mono">${line(message.name, 80)}</span>`}
      ${message.failed && html`<span class="badge bad">failed</span>`}
      ${known === "system" && html`<button class="quiet" aria-expanded=${open || Boolean(find)} onClick=${() => setOpen(!open)}>${open || find ? "Hide" : "Show"}</button>`}</header>
    ${(open || find) && body}
  </article>`;
}

function Part({ part, find }) {
  switch (part.type) {
    case "text":
      return html`<${LongText} text=${part.text} find=${find} class="prose" />`;
    case "thinking":
      return html`<div class="part"><span class="part-label">Thinking</span><${LongText} text=${part.text} find=${find} class="prose faint" /></div>`;
    case "call":
      return html`<div class="part call"><span class="part-label">Calls <span class="t mono">${line(part.name ?? "a tool", 80)}</span></span><${JsonText} value=${part.value ?? {}} find=${find} /></div>`;
    case "result":
      return html`<div class="part"><span class="part-label">${part.failed ? "Failed result" : "Result"}</span><${Body} value=${part.value ?? null} find=${find} /></div>`;
    default:
      return html`<${JsonText} value=${part.value} find=${find} />`;
  }
}
