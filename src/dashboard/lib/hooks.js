// What views share: questions that are asked again, lists that go on, and what the window is like.

import { useCallback, useEffect, useRef, useState } from "../vendor/vendor.js";
import { address, ask } from "./api.js";

/**
 * The answer to a question, asked again each `every` milliseconds while somebody looks. Of another question the old
 * answer is not shown; when a later try fails, the last answer stays, with the error beside it.
 */
export function useAsk(path, params, { every } = {}) {
  const key = path && address(path, params);
  const [state, setState] = useState({ key, data: undefined, error: undefined });
  const again = useRef(() => {});

  useEffect(() => {
    if (!key) return undefined;
    const stop = new AbortController();
    let timer;
    let asked = 0;
    let busy = false;

    async function run() {
      if (busy || stop.signal.aborted) return;
      busy = true;
      asked = Date.now();
      clearTimeout(timer);
      try {
        const data = await ask(path, params, { signal: stop.signal });
        setState({ key, data, error: undefined });
      } catch (error) {
        if (stop.signal.aborted) return;
        setState((old) => ({ key, data: old.key === key ? old.data : undefined, error }));
      }
      busy = false;
      if (every && !document.hidden && !stop.signal.aborted) timer = setTimeout(run, every);
    }
    function look() {
      clearTimeout(timer);
      if (document.hidden || !every) return;
      timer = setTimeout(run, Math.max(0, asked + every - Date.now()));
    }

    again.current = run;
    document.addEventListener("visibilitychange", look);
    run();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
    // `key` says all of `path` and `params`.
  }, [key, every]);

  const current = state.key === key ? state : { data: undefined, error: undefined };
  return { data: current.data, error: current.error, again: useCallback(() => again.current(), []) };
}

/**
 * A list that goes on page by page. A page may be empty and yet have a next one, where what is sought is rare; then it
 * goes on by itself until something is found, `stop` is called or the end is reached.
 */
export function usePages(path, params, name) {
  const key = address(path, params);
  const empty = { key, items: [], next: null, begun: false, busy: false, error: undefined, scannedTo: undefined };
  const [state, setState] = useState(empty);
  const control = useRef(new AbortController());

  const load = useCallback(
    async (from, before) => {
      control.current.abort();
      const stop = new AbortController();
      control.current = stop;
      let cursor = from;
      setState((old) => ({ ...(before ? old : empty), key, busy: true, error: undefined }));
      try {
        for (;;) {
          const page = await ask(path, { ...params, cursor }, { signal: stop.signal });
          const items = page[name];
          cursor = page.next;
          const done = items.length > 0 || !cursor;
          setState((old) => ({
            ...old,
            items: [...old.items, ...items],
            next: cursor,
            begun: true,
            busy: !done,
            scannedTo: page.scanned_to ?? old.scannedTo,
          }));
          if (done) return;
        }
      } catch (error) {
        if (!stop.signal.aborted) setState((old) => ({ ...old, busy: false, begun: true, error }));
      }
    },
    [key],
  );

  useEffect(() => {
    load(undefined, false);
    return () => control.current.abort();
  }, [load]);

  const current = state.key === key ? state : empty;
  return {
    ...current,
    more: () => load(current.next ?? undefined, true),
    again: () => load(undefined, false),
    stop: () => {
      control.current.abort();
      setState((old) => ({ ...old, busy: false }));
    },
  };
}

/** The time, told anew each `every` milliseconds. */
export function useNow(every = 10_000) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** Whether the window is as the media query says. */
export function useMedia(query) {
  const [is, setIs] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const tell = () => setIs(media.matches);
    media.addEventListener("change", tell);
    tell();
    return () => media.removeEventListener("change", tell);
  }, [query]);
  return is;
}

/** Width and height of the element that the ref is given to. */
export function useSize() {
  const ref = useRef(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      setSize((old) => (old.width === width && old.height === height ? old : { width, height }));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, size];
}

/** A value that has not changed for a while. */
export function useSettled(value, millis) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), millis);
    return () => clearTimeout(timer);
  }, [value, millis]);
  return settled;
}

/** Local midnight, as a question takes it; told anew when a day begins. */
export function useMidnight() {
  const now = useNow(60_000);
  const day = new Date(now);
  day.setHours(0, 0, 0, 0);
  return day.toISOString();
}
