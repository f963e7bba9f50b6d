// Stored text as text. Whatever an agent, a tool or a web page said may stand in an event; nothing here makes markup of
// it, and what cannot be seen or would turn the direction of writing is shown by its number, as the command line does.

// Control characters but tab and line feed, and bidirectional controls.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

const escape = (c) => `\\u{${c.codePointAt(0).toString(16)}}`;

/** All of a text, lines kept. */
export function visible(text) {
  return String(text).replace(/\r\n/g, "\n").replace(HIDDEN, escape);
}

/** What may be shown of a text in one line, at most `most` characters. */
export function line(text, most = 240) {
  if (text === undefined || text === null) return "";
  // Cut before the replacements, so that a text of megabytes costs no more than a short one.
  let short = String(text).slice(0, most * 2 + 64).trim().replace(/[\n\r\t]+/g, " ");
  const cut = short.length > most || String(text).length > most * 2 + 64;
  if (short.length > most) short = short.slice(0, isHigh(short.charCodeAt(most - 1)) ? most - 1 : most);
  return short.replace(HIDDEN, escape) + (cut ? "…" : "");
}

/** The beginning of a text, not longer than `most`, cut at the end of a line where one is near. */
export function beginning(text, most) {
  if (text.length <= most) return text;
  const newline = text.lastIndexOf("\n", most);
  let end = newline > most * 0.7 ? newline : most;
  if (isHigh(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

function isHigh(unit) {
  return unit >= 0xd800 && unit <= 0xdbff;
}

/** Splits a text at each place where `needle` occurs, in any case: `[{ text, hit }]`. */
export function hits(text, needle) {
  const parts = [];
  const low = text.toLowerCase();
  const sought = needle.toLowerCase();
  // Lower case may be longer than the text itself (İ); then places would not agree.
  if (!sought || low.length !== text.length) return [{ text, hit: false }];
  let from = 0;
  for (let at = low.indexOf(sought); at >= 0 && parts.length < 2000; at = low.indexOf(sought, from)) {
    if (at > from) parts.push({ text: text.slice(from, at), hit: false });
    parts.push({ text: text.slice(at, at + sought.length), hit: true });
    from = at + sought.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from), hit: false });
  return parts;
}
