// One conversation: its runs in order, and how the cost grew.

import { html, useEffect, useMemo } from "../vendor/vendor.js";
import { count, duration, money, percent, tokens } from "../lib/format.js";
import { useAsk, usePages } from "../lib/hooks.js";
import { href } from "../lib/route.js";
import { line } from "../lib/text.js";
import { Chart } from "../parts/chart.js";
import { RunTable } from "../parts/run-table.js";
import { Copy, Empty, More, Panel, Text, Time, Trouble, Waiting, runLink } from "../parts/ui.js";

/** Runs that are fetched without being asked for: the sum needs all of them, a very long session does not get them. */
const MOST = 1000;

export function SessionView({ id }) {
  const summary = useAsk("/api/v1/sessions", { q: id, limit: 50 });
  const list = usePages("/api/v1/runs", { session: id, limit: 200 }, "runs");
  useEffect(() => {
    if (list.next && !list.busy && !list.error && list.items.length < MOST) list.more();
  }, [list.next, list.busy]);

  const session = summary.data?.sessions.find((one) => one.session_id === id);
  const runs = useMemo(() => {
    let sum = 0;
    return [...list.items].reverse().map((run) => ({ ...run, sofar: (sum += run.cost_usd ?? 0) }));
  }, [list.items]);
  const dearest = useMemo(() => runs.reduce((best, run) => ((run.cost_usd ?? 0) > (best?.cost_usd ?? 0) ? run : best), undefined), [runs]);
  const whole = !list.next && list.begun;
  const extra = [{ key: "sofar", label: "So far", number: true, show: (run) => html`<span class="faint">${whole ? money(run.sofar) : ""}</span>` }];
  const chart = useMemo(() => ({ t: runs.map((run) => Date.parse(run.started) / 1000), series: [{ label: "Cost so far", values: runs.map((run) => run.sofar), tone: "accent", fill: true }] }), [runs]);

  return html`<div class="page-head"><h1 class="id-title"><span class="faint">Session</span> <${Text} of=${id} most="60" /></h1>${session?.agent_id && html`<span class="chip">agent <${Text} of=${session.agent_id} most="30" /></span>`}<${Copy} text=${id} label="Copy id" /></div>
    <${Trouble} error=${list.error ?? summary.error} again=${list.again} />
    ${session && html`<dl class="figures panel pad">
      <div><dt>Runs</dt><dd>${count(session.runs)}</dd></div>
      <div><dt>Cost</dt><dd>${money(session.cost_usd)}${session.unpriced > 0 && html` <span class="badge warn" title="Calls without a price; they are not part of the cost">${session.unpriced} unpriced</span>`}</dd></div>
      <div><dt>Tokens in</dt><dd title=${count(session.input_tokens)}>${tokens(session.input_tokens)}${session.cached_tokens > 0 && html` <small>${percent(session.cached_tokens / session.input_tokens)} cached</small>`}</dd></div>
      <div><dt>Tokens out</dt><dd title=${count(session.output_tokens)}>${tokens(session.output_tokens)}</dd></div>
      <div><dt>Model calls</dt><dd>${count(session.llm_calls)}</dd></div>
      <div><dt>Tool calls</dt><dd>${count(session.tool_calls)}</dd></div>
      <div><dt>Errors</dt><dd class=${session.errors > 0 ? "bad" : ""}>${count(session.errors)}</dd></div>
      <div><dt>Began</dt><dd><${Time} at=${session.started} /></dd></div>
      <div><dt>Length</dt><dd>${duration(Date.parse(session.ended) - Date.parse(session.started))}</dd></div>
      ${dearest && runs.length > 1 && html`<div><dt>Dearest run</dt><dd><a href=${runLink(dearest.run_id)}>${money(dearest.cost_usd)}</a> <small>${percent(dearest.cost_usd / (session.cost_usd || 1))} of all</small></dd></div>`}
    </dl>`}
    ${whole && runs.length > 2 && html`<${Panel} title="Cost so far" id="so-far"><${Chart} t=${chart.t} series=${chart.series} format=${money} tick=${(value) => `$${Number(value.toPrecision(6))}`} height=${120} legend=${false}
      summary=${`Cost of the session over its runs: ${money(runs.at(-1).sofar)} after ${runs.length} runs`} /></${Panel}>`}
    ${runs.length > 0 && html`<${Panel} title=${`Runs, in order`} id="runs" aside=${html`<a href=${href(["events"], { session: id, from: "" })}>All its events</a>`}><${RunTable} rows=${runs} label=${`Runs of ${line(id, 60)}`} extra=${extra} without=${["session_id"]} /></${Panel}>`}
    ${!list.begun && !list.error && html`<${Waiting} rows="6" />`}
    ${whole && !list.busy && runs.length === 0 && !list.error && html`<${Empty} title="No runs of this session are kept"><p><a href=${href(["events"], { session: id })}>Look for its events</a></p></${Empty}>`}
    <${More} list=${list} noun="runs" />`;
}
