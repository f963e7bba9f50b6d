// Events as they come.

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { ask } from "../lib/api.js";
import { KINDS, failed, kindLabel } from "../lib/kinds.js";
import { go, href } from "../lib/route.js";
import { follow } from "../lib/stream.js";
import { line } from "../lib/text.js";
import { EventRow, moveByArrows } from "./event-row.js";
import { Icon } from "./icon.js";
import { Choice, Empty, Panel, Trouble, Waiting, runLink } from "./ui.js";

/** Events that are kept here. */
const KEPT = 200;
/** How often what has come is shown: a burst of hundreds is one painting. */
const BEAT = 250;

export function Tail() {
  const [kind, setKind] = useState("");
  const [onlyFailed, setOnlyFailed] = useState(false);
  const [paused, setPaused] = useState(false);
  const [held, setHeld] = useState(0);
  const tail = useTail(kind, onlyFailed, paused, setHeld);
  const open = (event) => go(event.run_id ? runLink(event.run_id, { span: event.trace_id }) : href(["events"], { event: event.trace_id }));
  const words = { live: "live", waiting: `connecting again: ${line(tail.why ?? "", 80)}`, asleep: "asleep", begin: "connecting" };
  return html`<${Panel} title="Live" id="live" class="tail" aside=${html`
      <span class=${`live ${paused ? "paused" : tail.state}`} role="status"><i></i>${paused ? `paused${held > 0 ? `, ${held} new` : ""}` : words[tail.state]}</span>
      <span class="grow"></span>
      <${Choice} label="Kind of events" params=${new URLSearchParams(kind ? { kind } : {})} name="kind" onChange=${setKind} options=${[["", "All kinds"], ...KINDS.slice(0, 13).map((one) => [one, kindLabel(one)])]} />
      <button aria-pressed=${onlyFailed} onClick=${() => setOnlyFailed(!onlyFailed)}><${Icon} name="error" size="12" />Failed</button>
      <button aria-pressed=${paused} onClick=${() => setPaused(!paused)}><${Icon} name=${paused ? "play" : "pause"} size="12" />${paused ? "Go on" : "Pause"}</button>`}>
    <${Trouble} error=${tail.error} />
    ${!tail.events && !tail.error && html`<${Waiting} rows="8" />`}
    ${tail.events?.length === 0 && html`<${Empty} title=${kind || onlyFailed ? "No such event yet" : "No events yet"}><p>${kind || onlyFailed
      ? "It will show here as soon as it comes."
      : html`Point OpenClaw at <code>http://127.0.0.1:9090</code>, or send one event by hand; it shows here at once.`}</p></${Empty}>`}
    ${tail.events?.length > 0 && html`<ul class="events" onKeyDown=${moveByArrows} aria-label="Latest events">${tail.events.map((event) => html`<${EventRow} key=${event.trace_id} event=${event} onOpen=${open} />`)}</ul>`}
  </${Panel}>`;
}

/** The latest events, and those that come; while paused they are counted and kept for later. */
function useTail(kind, onlyFailed, paused, setHeld) {
  const [shown, setShown] = useState({ events: undefined, state: "begin" });
  const fresh = useRef([]);
  const isPaused = useRef(paused);
  isPaused.current = paused;

  const flush = () => {
    if (isPaused.current) return setHeld(fresh.current.length);
    if (fresh.current.length === 0) return;
    const come = fresh.current.reverse();
    fresh.current = [];
    setShown((old) => ({ ...old, events: unique([...come, ...(old.events ?? [])]).slice(0, KEPT) }));
  };

  useEffect(() => {
    const stop = new AbortController();
    let leave = () => {};
    let timer;
    fresh.current = [];
    setShown({ events: undefined, state: "begin" });
    const params = { kind: kind || undefined, status: onlyFailed ? "error" : undefined };
    (async () => {
      // The stream first, so that nothing falls between it and the list; what is in both is shown once.
      leave = follow({
        params,
        event: (event) => {
          if (onlyFailed && !failed(event)) return;
          fresh.current.push(event);
          if (fresh.current.length > KEPT) fresh.current.shift();
          timer ??= setTimeout(() => {
            timer = undefined;
            flush();
          }, BEAT);
        },
        state: (state, why) => setShown((old) => ({ ...old, state, why })),
      });
      const page = await ask("/api/v1/events", { ...params, limit: 60, from: "7d" }, { signal: stop.signal });
      setShown((old) => ({ ...old, events: unique([...(old.events ?? []), ...page.events]).slice(0, KEPT) }));
    })().catch((error) => !stop.signal.aborted && setShown((old) => ({ ...old, error })));
    return () => {
      stop.abort();
      leave();
      clearTimeout(timer);
    };
  }, [kind, onlyFailed]);

  useEffect(() => {
    if (!paused) {
      setHeld(0);
      flush();
    }
  }, [paused]);
  return shown;
}

function unique(events) {
  const seen = new Set();
  return events.filter((event) => !seen.has(event.trace_id) && seen.add(event.trace_id));
}
