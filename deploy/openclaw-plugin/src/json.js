// Any value as JSON text, whatever it is: within a bound of bytes, never throwing.
//
// What a hook hands over is not ours: it may be cyclic, hold functions, BigInts, getters that throw
// or a file of 100 MB. JSON.stringify gives up on the first three and knows no bound. Here
// - a string that does not fit is cut and says how long it was;
// - what comes after the bound is left out and says so; brackets always close;
// - lone surrogates are replaced, since a receiver would refuse the whole event for one.

const MAX_DEPTH = 40;
const MAX_ITEMS = 10_000;
const MARKER_BYTES = 64;

/**
 * @param {unknown} value
 * @param {number} maxBytes bound of the text's length; may be passed by the closing brackets and a marker
 * @returns {{ json: string, truncated: boolean }}
 */
export function boundedJson(value, maxBytes) {
  const writer = { left: maxBytes, truncated: false, path: new Set(), items: 0 };
  return { json: write(writer, value, 0) ?? "null", truncated: writer.truncated };
}

/** The text itself, well formed, cut at `maxBytes` with a marker. */
export function boundedText(value, maxBytes) {
  let text = typeof value === "string" ? value : safeString(value);
  const bytes = byteLength(text);
  if (bytes > maxBytes) text = cut(text, maxBytes, bytes);
  return text.toWellFormed();
}

/** Bytes of UTF-8. */
export function byteLength(text) {
  return Buffer.byteLength(text, "utf8");
}

function write(writer, value, depth) {
  switch (typeof value) {
    case "string":
      return writeString(writer, value);
    case "number":
      return spend(writer, Number.isFinite(value) ? String(value) : "null");
    case "boolean":
      return spend(writer, value ? "true" : "false");
    case "bigint":
      return writeString(writer, safeString(value));
    case "object":
      return value === null ? spend(writer, "null") : writeObject(writer, value, depth);
    default:
      return undefined; // functions, symbols and undefined have no JSON
  }
}

function writeString(writer, text) {
  if (writer.left <= 0) return leftOut(writer);
  const bytes = byteLength(text);
  let json;
  // Escapes make a text longer, a control character six times; so what was cut is measured again.
  for (let most = writer.left; ; ) {
    const isCut = bytes > most;
    writer.truncated ||= isCut;
    json = JSON.stringify((isCut ? cut(text, most, bytes) : text).toWellFormed());
    const length = byteLength(json);
    if (length <= writer.left + MARKER_BYTES || most < MARKER_BYTES) {
      writer.left -= length;
      return json;
    }
    most = Math.floor((Math.min(most, bytes) * writer.left * 0.95) / length);
  }
}

function writeObject(writer, value, depth) {
  if (writer.left <= 0 || depth >= MAX_DEPTH || writer.items >= MAX_ITEMS) return leftOut(writer);
  if (writer.path.has(value)) return spend(writer, '"[circular]"');
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return spend(writer, `"[binary: ${value.byteLength} bytes]"`);
  let converted = value;
  try {
    if (value instanceof Date) return spend(writer, Number.isNaN(value.getTime()) ? "null" : JSON.stringify(value.toISOString()));
    if (value instanceof Error) converted = { name: value.name, message: value.message, ...value };
    else if (value instanceof Map) converted = Object.fromEntries([...value].slice(0, MAX_ITEMS).map(([key, item]) => [safeString(key), item]));
    else if (value instanceof Set) converted = [...value].slice(0, MAX_ITEMS);
  } catch {
    return spend(writer, '"[unreadable]"');
  }
  writer.path.add(value);
  try {
    return Array.isArray(converted) ? writeArray(writer, converted, depth) : writeMembers(writer, converted, depth);
  } finally {
    writer.path.delete(value);
  }
}

function writeArray(writer, list, depth) {
  const parts = [];
  writer.left -= 2;
  for (let index = 0; index < list.length; index++) {
    if (isFull(writer)) {
      parts.push(JSON.stringify(`[left out: ${list.length - index} items]`));
      writer.truncated = true;
      break;
    }
    writer.items++;
    writer.left--;
    parts.push(write(writer, read(list, index), depth + 1) ?? "null");
  }
  return `[${parts.join(",")}]`;
}

function writeMembers(writer, object, depth) {
  let keys;
  try {
    keys = Object.keys(object);
  } catch {
    return spend(writer, '"[unreadable]"');
  }
  const parts = [];
  writer.left -= 2;
  for (let index = 0; index < keys.length; index++) {
    if (isFull(writer)) {
      parts.push(`"[left out]":${keys.length - index}`);
      writer.truncated = true;
      break;
    }
    writer.items++;
    const key = JSON.stringify(boundedText(keys[index], 256));
    const item = write(writer, read(object, keys[index]), depth + 1);
    if (item === undefined) continue;
    writer.left -= byteLength(key) + 2;
    parts.push(`${key}:${item}`);
  }
  return `{${parts.join(",")}}`;
}

function isFull(writer) {
  return writer.left <= 0 || writer.items >= MAX_ITEMS;
}

function leftOut(writer) {
  writer.truncated = true;
  return '"[left out]"';
}

function spend(writer, json) {
  writer.left -= json.length;
  return json;
}

function read(object, key) {
  try {
    return object[key];
  } catch {
    return "[unreadable]";
  }
}

// The marker is as long as the numbers in it, so the text may pass the bound by some 40 bytes.
function cut(text, maxBytes, bytes) {
  let kept = text.slice(0, Math.max(0, maxBytes));
  const over = byteLength(kept) - maxBytes;
  if (over > 0) kept = Buffer.from(kept, "utf8").subarray(0, Math.max(0, maxBytes)).toString("utf8").replace(/\ufffd+$/, "");
  return `${kept}…[truncated: ${bytes} bytes]`;
}

function safeString(value) {
  try {
    return String(value);
  } catch {
    return "[unreadable]";
  }
}
