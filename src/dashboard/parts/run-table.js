// Runs as a table, wherever they are listed.

import { html } from "../vendor/vendor.js";
import { costOf, count, duration, tokens } from "../lib/format.js";
import { Table } from "./table.js";
import { Status, Text, Time, runLink, sessionLink } from "./ui.js";

/** `extra`: columns more, `without`: keys of those that would say what the page says already. */
export function RunTable({ rows, label, extra = [], without = [] }) {
  const columns = [
    { key: "name", label: "Run", wide: true, show: (run) => html`<a class="row-link" href=${runLink(run.run_id)}><${Text} of=${run.name ?? run.run_id} most="80" /></a>${run.name && html` <${Text} of=${run.run_id} most="20" class="faint run-no" />`}
      ${run.error && run.status === "error" && html`<div class="sub bad-text"><${Text} of=${run.error} most="120" /></div>`}` },
    { key: "status", label: "Status", show: (run) => html`<${Status} event=${run} />` },
    { key: "started", label: "Started", show: (run) => html`<${Time} at=${run.started} />` },
    { key: "session_id", label: "Session", hide: "tablet", show: (run) => (run.session_id ? html`<a href=${sessionLink(run.session_id)}><${Text} of=${run.session_id} most="26" /></a>` : "") },
    { key: "model", label: "Model", hide: "tablet", show: (run) => html`<${Text} of=${run.model} most="26" />` },
    { key: "duration_ms", label: "Duration", number: true, show: (run) => duration(run.duration_ms) },
    { key: "llm_calls", label: "Calls", number: true, hide: "phone", show: (run) => html`<span title="model calls + tool calls">${count(run.llm_calls)} + ${count(run.tool_calls)}</span>` },
    { key: "tokens", label: "Tokens", number: true, show: (run) => tokens((run.input_tokens ?? 0) + (run.output_tokens ?? 0)) },
    { key: "cost_usd", label: "Cost", number: true, show: (run) => html`${costOf(run)}${run.unpriced > 0 && run.cost_usd > 0 ? html`<span class="sub">${run.unpriced} unpriced</span>` : ""}` },
    ...extra,
  ];
  return html`<${Table} label=${label} columns=${columns.filter((column) => !without.includes(column.key))} rows=${rows} rowKey=${(run) => run.run_id} target=${(run) => runLink(run.run_id)} phone="cards" />`;
}
