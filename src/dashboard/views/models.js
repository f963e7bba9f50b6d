// How models and tools do: how often, how fast, how many fail, what they cost.

import { html } from "../vendor/vendor.js";
import { count, duration, money, percent, tokens } from "../lib/format.js";
import { useAsk } from "../lib/hooks.js";
import { href } from "../lib/route.js";
import { Spark } from "../parts/chart.js";
import { Table } from "../parts/table.js";
import { Empty, Panel, Range, Text, Trouble, Waiting } from "../parts/ui.js";

const EVERY = 30_000;

export function ModelsView({ params }) {
  const from = params.get("from") ?? "24h";
  const models = useAsk("/api/v1/stats", { by: "model", from }, { every: EVERY });
  const tools = useAsk("/api/v1/stats", { by: "tool", from }, { every: EVERY });
  return html`<div class="page-head"><h1>Models and tools</h1><${Range} params=${params} /></div>
    <${Trouble} error=${models.error ?? tools.error} />
    <${Groups} title="Models" id="models" stats=${models.data} error=${models.error} columns=${MODELS} filter="model" from=${from}
      empty="No model calls in this time" />
    <${Groups} title="Tools" id="tools" stats=${tools.data} error=${tools.error} columns=${TOOLS} filter="tool" from=${from}
      empty="No tool calls in this time" />`;
}

function Groups({ title, id, stats, error, columns, filter, from, empty }) {
  const isOther = (row) => row.name === "(other)";
  const name = { key: "name", label: title === "Models" ? "Model" : "Tool", wide: true, show: (row) => html`<a class="row-link" href=${isOther(row) ? href(["events"], { from }) : href(["events"], { [filter]: row.name, from })}><${Text} of=${row.name} most="60" /></a>
    ${row.provider && html`<div class="sub"><${Text} of=${row.provider} most="40" /></div>`}` };
  const total = stats?.total;
  const foot = total && stats.groups.length > 1 ? { name: "All", ...Object.fromEntries(columns.filter((column) => !column.fixed).map((column) => [column.key, column.show ? column.show(total) : total[column.key]])) } : undefined;
  return html`<${Panel} title=${title} id=${id}>
    ${!stats && !error && html`<${Waiting} rows="4" />`}
    ${stats?.groups.length === 0 && html`<${Empty} title=${empty}><p>Choose a longer time above.</p></${Empty}>`}
    ${stats?.groups.length > 0 && html`<${Table} label=${title} columns=${[name, ...columns]} rows=${stats.groups} sort=${["calls", true]} rowKey=${(row) => `${row.provider} ${row.name}`} foot=${foot} phone="cards" />`}
  </${Panel}>`;
}

const time = (key, hide) => ({ key, label: key, number: true, hide, value: (row) => row.duration_ms?.[key], show: (row) => duration(row.duration_ms?.[key]) });

const CALLS = [
  { key: "trend", label: "Calls over time", fixed: true, hide: "tablet", show: (row) => html`<${Spark} values=${row.series.calls} tone="k-llm_call" />` },
  { key: "calls", label: "Calls", number: true, show: (row) => count(row.calls) },
  { key: "errors", label: "Failed", number: true, value: (row) => row.errors / (row.calls || 1), show: (row) => html`<span class=${row.errors > 0 ? "bad-text" : "faint"} title=${`${count(row.errors)} of ${count(row.calls)}`}>${row.errors > 0 ? percent(row.errors / row.calls) : "0 %"}</span>` },
];

const TIMES = [time("p50"), time("p95"), time("p99", "phone"), time("max", "phone")];

const MODELS = [
  ...CALLS,
  { key: "input_tokens", label: "Tokens in", number: true, show: (row) => html`<span title=${count(row.input_tokens)}>${tokens(row.input_tokens)}</span>` },
  { key: "cached", label: "Cached", number: true, hide: "phone", value: (row) => row.cached_tokens / (row.input_tokens || 1), show: (row) => (row.input_tokens > 0 ? percent(row.cached_tokens / row.input_tokens) : "–") },
  { key: "output_tokens", label: "Tokens out", number: true, show: (row) => html`<span title=${count(row.output_tokens)}>${tokens(row.output_tokens)}</span>` },
  { key: "cost_usd", label: "Cost", number: true, show: (row) => (row.unpriced > 0 && row.unpriced === row.calls ? html`<span class="badge warn">no price</span>` : html`${money(row.cost_usd)}${row.unpriced > 0 ? html`<span class="sub">${row.unpriced} unpriced</span>` : ""}`) },
  ...TIMES,
];

const TOOLS = [...CALLS, ...TIMES];
