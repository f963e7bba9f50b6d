// Conversations, latest first, with what each has cost.

import { html } from "../vendor/vendor.js";
import { costOf, count, duration, tokens } from "../lib/format.js";
import { usePages } from "../lib/hooks.js";
import { Table } from "../parts/table.js";
import { Empty, Filter, More, Range, Text, Time, Trouble, Waiting, sessionLink } from "../parts/ui.js";

const COLUMNS = [
  { key: "session_id", label: "Session", wide: true, show: (one) => html`<a class="row-link" href=${sessionLink(one.session_id)}><${Text} of=${one.session_id} most="80" /></a>` },
  { key: "agent_id", label: "Agent", hide: "tablet", show: (one) => html`<${Text} of=${one.agent_id} most="28" />` },
  { key: "ended", label: "Last event", show: (one) => html`<${Time} at=${one.ended} />` },
  { key: "length", label: "Length", number: true, hide: "tablet", show: (one) => duration(Date.parse(one.ended) - Date.parse(one.started)) },
  { key: "runs", label: "Runs", number: true, show: (one) => count(one.runs) },
  { key: "llm_calls", label: "Calls", number: true, hide: "phone", show: (one) => html`<span title="model calls + tool calls">${count(one.llm_calls)} + ${count(one.tool_calls)}</span>` },
  { key: "errors", label: "Errors", number: true, show: (one) => html`<span class=${one.errors > 0 ? "bad-text" : "faint"}>${count(one.errors)}</span>` },
  { key: "tokens", label: "Tokens", number: true, show: (one) => tokens((one.input_tokens ?? 0) + (one.output_tokens ?? 0)) },
  { key: "cost_usd", label: "Cost", number: true, show: (one) => html`${costOf(one)}${one.unpriced > 0 && one.cost_usd > 0 ? html`<span class="sub">${one.unpriced} unpriced</span>` : ""}` },
];

export function SessionsView({ params }) {
  const asked = { q: params.get("q"), agent: params.get("agent"), from: params.get("from") ?? "", to: params.get("to"), limit: 50 };
  const list = usePages("/api/v1/sessions", asked, "sessions");
  return html`<div class="page-head"><h1>Sessions</h1><${Range} params=${params} fallback="" all=${true} /></div>
    <div class="filters"><${Filter} name="q" params=${params} label="Search sessions" placeholder="Part of the id" wide=${true} /><${Filter} name="agent" params=${params} label="Agent" /></div>
    <${Trouble} error=${list.error} again=${list.again} />
    ${!list.begun && !list.error && html`<${Waiting} rows="8" />`}
    ${list.items.length > 0 && html`<div class="panel"><${Table} label="Sessions" columns=${COLUMNS} rows=${list.items} rowKey=${(one) => one.session_id} target=${(one) => sessionLink(one.session_id)} phone="cards" /></div>`}
    ${list.begun && !list.busy && !list.error && list.items.length === 0 && (asked.q || asked.from || asked.agent
      ? html`<${Empty} title="No session fits"><p>Widen the time, or take a filter away.</p></${Empty}>`
      : html`<${Empty} title="No sessions yet"><p>Events that tell a <code>session_id</code> are gathered here. OpenClaw's plugin for openclaw-trace sends it.</p></${Empty}>`)}
    <${More} list=${list} noun="sessions" />`;
}
