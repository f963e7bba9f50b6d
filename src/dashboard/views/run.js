// One run: what it did, how long each thing took, what it cost and where it failed.

import { html, useCallback, useEffect, useMemo, useRef, useState } from "../vendor/vendor.js";
import { ask } from "../lib/api.js";
import { costOf, count, duration, percent, plural, tokens } from "../lib/format.js";
import { useAsk, useMedia, useSettled } from "../lib/hooks.js";
import { failed } from "../lib/kinds.js";
import { href, setParams } from "../lib/route.js";
import { line } from "../lib/text.js";
import { buildTree, shown, timeSpent } from "../lib/tree.js";
import { Detail } from "../parts/detail.js";
import { Icon } from "../parts/icon.js";
import { Minimap } from "../parts/minimap.js";
import { Copy, Empty, Status, Text, Time, Trouble, Waiting, sessionLink } from "../parts/ui.js";
import { Axis, Waterfall } from "../parts/waterfall.js";

/** A run that ended so lately may go on; then it is asked for again. */
const FRESH = 120_000;

export function RunView({ id, params }) {
  const [fresh, setFresh] = useState(true);
  const { data, error, again } = useAsk(`/api/v1/runs/${encodeURIComponent(id)}`, undefined, { every: fresh ? 5000 : 0 });
  useEffect(() => {
    if (!data) return;
    const last = data.events.at(-1);
    setFresh(data.events.length < 2000 && last !== undefined && Date.now() - Date.parse(last.timestamp) < FRESH);
  }, [data]);
  // The same answer again is no new tree: what is selected, folded and scrolled stays.
  const last = useRef(null);
  if (data && !(last.current && last.current.id === id && same(last.current.data, data))) last.current = { id, data };
  const shownData = last.current?.id === id ? last.current.data : undefined;
  if (error?.status === 404) {
    return html`<h1>Run <span class="t mono">${line(id, 60)}</span></h1><${Empty} title="There is no such run"><p>It may have been deleted by retention, or its events are not here yet.</p><a href="#/runs">All runs</a></${Empty}>`;
  }
  if (!shownData) return html`<h1>Run <span class="t mono">${line(id, 60)}</span></h1><${Trouble} error=${error} again=${again} />${!error && html`<${Waiting} rows="8" />`}`;
  return html`<${Run} key=${id} data=${shownData} params=${params} />`;
}

function same(a, b) {
  return a.events.length === b.events.length && a.run.duration_ms === b.run.duration_ms && a.run.status === b.run.status && a.run.cost_usd === b.run.cost_usd;
}

function Run({ data, params }) {
  const { run, events, cut } = data;
  const tree = useMemo(() => buildTree(events), [events]);
  const wide = useMedia("(min-width: 1000px)");
  const narrow = useMedia("(max-width: 640px)");
  // By identity: while a run goes on, what comes late moves the places of others.
  const [foldedIds, setFoldedIds] = useState(() => new Set());
  const folded = useMemo(() => {
    const places = new Set();
    if (foldedIds.size > 0) events.forEach((event, at) => foldedIds.has(event.trace_id) && places.add(at));
    return places;
  }, [foldedIds, events]);
  const [zoom, setZoom] = useState(null);
  const [focusDetail, setFocusDetail] = useState(false);
  const wanted = params.get("span");
  const selected = useMemo(() => {
    const at = wanted ? events.findIndex((event) => event.trace_id === wanted) : -1;
    if (at >= 0) return at;
    const root = events.findIndex((event) => event.kind === "run");
    return root >= 0 ? root : (tree.order[0] ?? -1);
  }, [wanted, events, tree]);
  // Where there is room beside the tree, the event is shown; on a phone it is asked for.
  const [open, setOpen] = useState(wide || Boolean(wanted));
  const rows = useMemo(() => shown(tree, folded), [tree, folded]);
  const span = zoom ?? { from: tree.from, to: tree.to };
  const box = useRef(null);
  const field = useRef(null);

  const select = useCallback((at) => {
    if (at === undefined || at < 0) return;
    setFocusDetail(false);
    // Whatever it is folded into is opened, so that it can be seen.
    setFoldedIds((old) => {
      let next = old;
      for (let above = tree.parent[at]; above >= 0; above = tree.parent[above]) {
        const { trace_id: id } = events[above];
        if (!next.has(id)) continue;
        if (next === old) next = new Set(old);
        next.delete(id);
      }
      return next;
    });
    setParams({ span: events[at].trace_id }, { replace: true });
  }, [events, tree]);
  const show = useCallback((at, focus) => {
    select(at);
    setOpen(true);
    setFocusDetail(focus || narrow);
  }, [select, narrow]);
  const fold = useCallback((at) => setFoldedIds((old) => {
    const next = new Set(old);
    if (!next.delete(events[at].trace_id)) next.add(events[at].trace_id);
    return next;
  }), [events]);
  const toTree = () => box.current?.querySelector("[role=tree]")?.focus({ preventScroll: true });
  const close = () => {
    setOpen(false);
    setFocusDetail(false);
    toTree();
  };

  const search = useSearch(run.run_id, tree, params.get("find") ?? "");
  const step = (from, by, test) => {
    const all = tree.order;
    const start = all.indexOf(from);
    for (let distance = 1; distance <= all.length; distance += 1) {
      const at = all[(start + by * distance + all.length * 2) % all.length];
      if (test(at)) return select(at);
    }
  };
  const nextMatch = (by) => step(selected, by, (at) => search.matches?.has(at));
  const nextError = (by) => step(selected, by, (at) => failed(events[at]));
  const zoomToSelected = () => {
    const room = Math.max(1, (tree.end[selected] - tree.start[selected]) * 0.05);
    setZoom({ from: tree.start[selected] - room, to: tree.end[selected] + room });
  };
  const key = (event) => {
    const acts = { "/": () => field.current?.focus(), n: () => nextMatch(1), N: () => nextMatch(-1), e: () => nextError(1), E: () => nextError(-1), z: zoomToSelected, Z: () => setZoom(null), 0: () => setZoom(null) };
    const act = acts[event.key];
    act?.();
    return Boolean(act);
  };
  // `/`, `n` and `e` work wherever the focus is, but in a field.
  useEffect(() => {
    const listen = (event) => {
      if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, [role=tree], dialog")) return;
      if (key(event)) event.preventDefault();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  });
  // Whoever comes here wants to move through the tree.
  useEffect(toTree, []);

  const errors = useMemo(() => events.filter(failed).length, [events]);
  const retries = useMemo(() => tree.attempt.reduce((sum, one) => sum + (one > 0 ? 1 : 0), 0), [tree]);
  const parents = useMemo(() => [...tree.order].filter((at) => tree.size[at] > 1 && tree.depth[at] > 0), [tree]);
  const overlay = open && !wide;
  return html`<div class=${`run ${open && wide ? "with-detail" : ""}`} ref=${box}>
    <${Head} run=${run} tree=${tree} retries=${retries} />
    ${cut && run.events > events.length && html`<p class="note warn"><${Icon} name="error" /> This run is larger than one answer holds: its first ${count(events.length)} events are shown.</p>`}
    <div class="run-body">
      <div class="run-tree panel">
        <div class="run-tools">
          <label class="field search"><span class="sr">Search inside the run</span><${Icon} name="search" />
            <input ref=${field} type="search" placeholder="Search inside the run" value=${search.text} maxlength="200" spellcheck="false"
              onInput=${(event) => search.set(event.target.value)}
              onKeyDown=${(event) => {
                if (event.key === "Enter") {
                  event.preventDefault();
                  nextMatch(event.shiftKey ? -1 : 1);
                  if (!event.shiftKey) toTree();
                } else if (event.key === "Escape") {
                  if (search.text) search.set("");
                  toTree();
                }
              }} /><kbd aria-hidden="true">/</kbd></label>
          ${search.text && html`<span class="found" role="status">${search.matches ? plural(search.matches.size, "match", "matches") : ""}${search.busy ? "…" : ""}</span>
            <button class="icon-button" onClick=${() => nextMatch(-1)} aria-label="Previous match (N)" title="Previous match (N)">↑</button>
            <button class="icon-button" onClick=${() => nextMatch(1)} aria-label="Next match (n)" title="Next match (n)">↓</button>`}
          <span class="grow"></span>
          ${errors > 0 && html`<button class="quiet bad" onClick=${() => nextError(1)} title="Next error (e)"><${Icon} name="error" size="12" />${plural(errors, "error")}</button>`}
          ${zoom && html`<button class="quiet" onClick=${() => setZoom(null)} title="Show all of the time (Z)">Whole run</button>`}
          ${parents.length > 0 && html`<button class="quiet" onClick=${() => setFoldedIds(folded.size > 0 ? new Set() : new Set(parents.map((at) => events[at].trace_id)))}>${folded.size > 0 ? "Unfold all" : "Fold"}</button>`}
        </div>
        ${events.length > 1 && html`<div class="map-row"><${Minimap} tree=${tree} span=${span} onZoom=${setZoom} /></div>`}
        <div class="row-head" aria-hidden="true"><span>Event</span><span class="row-figures"><span>Tokens</span><span>Cost</span></span><${Axis} span=${span} from=${tree.from} /></div>
        <${Waterfall} tree=${tree} rows=${rows} folded=${folded} selected=${selected} span=${span} matches=${search.matches} find=${search.text}
          narrow=${narrow} onSelect=${select} onOpen=${show} onFold=${fold} onKey=${key} />
        <p class="keys" aria-hidden="true"><kbd>↑</kbd><kbd>↓</kbd> move <kbd>←</kbd><kbd>→</kbd> fold <kbd>Enter</kbd> open <kbd>e</kbd> next error <kbd>n</kbd> next match <kbd>z</kbd> zoom <kbd>?</kbd> all keys</p>
      </div>
      ${open && selected >= 0 && html`<${Held} id=${events[selected].trace_id} row=${events[selected]} find=${search.text} onClose=${close} overlay=${overlay} focus=${focusDetail} />`}
    </div></div>`;
}

/** The event beside the tree, once the hand on the arrow key rests. */
function Held({ id, row, ...rest }) {
  const settled = useSettled(id, 120);
  return html`<${Detail} id=${settled} row=${settled === id ? row : undefined} inRun=${true} closeLabel="Back to the run" ...${rest} />`;
}

function Head({ run, tree, retries }) {
  const spent = useMemo(() => timeSpent(tree), [tree]);
  const total = spent.llm_call + spent.tool_call + spent.other || 1;
  const input = run.input_tokens ?? 0;
  const parts = [["llm_call", "models"], ["tool_call", "tools"], ["other", "other"]].filter(([kind]) => spent[kind] / total > 0.001);
  return html`<header class="run-head">
    <div class="run-title">
      <h1><span class="t">${line(run.name ?? "Run", 80)}</span></h1>
      <${Status} event=${run} />
      ${run.model && html`<span class="chip"><${Icon} name="models" size="11" /><${Text} of=${run.model} most="48" /></span>`}
      ${retries > 0 && html`<span class="badge warn"><${Icon} name="retry" size="11" />${plural(retries, "retry", "retries")}</span>`}
      <span class="grow"></span>
      <span class="run-id"><span class="faint">began <${Time} at=${run.started} /></span><${Text} of=${run.run_id} most="40" class="mono faint" /><${Copy} text=${run.run_id} label="Copy id" /><a class="quiet" href=${href(["events"], { run: run.run_id, kind: "*" })}>As a list</a></span>
    </div>
    ${run.error && run.status === "error" && html`<div class="error-box"><${Icon} name="error" /><span class="t">${line(run.error, 400)}</span></div>`}
    <dl class="figures">
      <div><dt>Duration</dt><dd>${duration(run.duration_ms)}</dd></div>
      <div><dt>Cost</dt><dd>${costOf(run)}${run.unpriced > 0 && html` <span class="badge warn" title="Calls without a price; they are not part of the cost">${run.unpriced} unpriced</span>`}</dd></div>
      <div><dt>Tokens in</dt><dd title=${count(input)}>${tokens(input)}${run.cached_tokens > 0 && html` <small>${percent(run.cached_tokens / input)} cached</small>`}</dd></div>
      <div><dt>Tokens out</dt><dd title=${count(run.output_tokens)}>${tokens(run.output_tokens)}</dd></div>
      <div><dt>Model calls</dt><dd>${count(run.llm_calls)}</dd></div>
      <div><dt>Tool calls</dt><dd>${count(run.tool_calls)}</dd></div>
      <div><dt>Errors</dt><dd class=${run.errors > 0 ? "bad" : ""}>${count(run.errors)}</dd></div>
      ${run.session_id && html`<div><dt>Session</dt><dd><a href=${sessionLink(run.session_id)}><${Text} of=${run.session_id} most="24" /></a></dd></div>`}
      <div class="spent"><dt>Time went to</dt><dd><span class="spent-bar" aria-hidden="true">${parts.map(([kind]) => html`<i key=${kind} class=${`k-${kind}`} style=${{ width: `${(spent[kind] / total) * 100}%` }}></i>`)}</span>
        <small>${parts.map(([kind, word]) => html`<span key=${kind}><i class=${`dot k-${kind}`}></i>${word} ${percent(spent[kind] / total)} </span>`)}</small></dd></div>
    </dl></header>`;
}

/** What matches: by name and error at once; by what went in and out as soon as the store has looked. */
function useSearch(runId, tree, initial) {
  const [text, set] = useState(initial);
  const settled = useSettled(text.trim(), 300);
  const [remote, setRemote] = useState({ text: "", ids: new Set(), busy: false });
  useEffect(() => {
    setParams({ find: settled || null }, { replace: true });
    if (settled.length < 2) return setRemote({ text: settled, ids: new Set(), busy: false });
    const stop = new AbortController();
    (async () => {
      const ids = new Set();
      setRemote({ text: settled, ids, busy: true });
      let cursor;
      do {
        const page = await ask("/api/v1/events", { run: runId, q: settled, kind: "*", order: "asc", bodies: "none", limit: 500, cursor }, { signal: stop.signal });
        for (const event of page.events) ids.add(event.trace_id);
        cursor = page.next;
        setRemote({ text: settled, ids: new Set(ids), busy: Boolean(cursor) });
      } while (cursor);
    })().catch(() => setRemote((old) => ({ ...old, busy: false })));
    return () => stop.abort();
  }, [settled, runId]);
  const matches = useMemo(() => {
    const sought = text.trim().toLowerCase();
    if (!sought) return null;
    const found = new Set();
    tree.spans.forEach((event, at) => {
      const own = `${event.name ?? ""}\n${event.error ?? ""}\n${event.kind}\n${event.span_id ?? ""}\n${event.trace_id}`.toLowerCase();
      if (own.includes(sought) || (remote.text === text.trim() && remote.ids.has(event.trace_id))) found.add(at);
    });
    return found;
  }, [text, tree, remote]);
  return { text, set, matches, busy: remote.busy };
}
