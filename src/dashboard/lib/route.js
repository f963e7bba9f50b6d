// Where the reader is: the part of the address behind `#`. Every view can be linked to, with its filters, and the
// browser's back button goes from view to view, not from keystroke to keystroke.

import { useEffect, useState } from "../vendor/vendor.js";

const watchers = new Set();

/** `{ path: ["run", "ID"], params: URLSearchParams }`. */
export function here() {
  const [path, query] = split(location.hash.replace(/^#\/?/, ""));
  return { path: path.split("/").filter(Boolean).map(decode), params: new URLSearchParams(query) };
}

function split(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a view. */
export function href(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Changes parameters of this view; `null` takes one away. `replace` leaves no step for the back button. */
export function setParams(patch, { replace = false } = {}) {
  const { path, params } = here();
  const all = { ...Object.fromEntries(params), ...patch };
  const target = href(path, all);
  if (target === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  tell();
}

export function go(target) {
  history.pushState(null, "", target);
  tell();
}

function tell() {
  for (const watcher of [...watchers]) watcher();
}

window.addEventListener("hashchange", tell);
window.addEventListener("popstate", tell);

export function useRoute() {
  const [route, setRoute] = useState(here);
  useEffect(() => {
    const watcher = () => setRoute(here());
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }, []);
  return route;
}
