// Small readers: what a hook hands over may be anything.

export function text(value) {
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** Sets, as the newest; the oldest goes when there are more than `most`. */
export function remember(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
}
