// All runs, latest first.

import { html } from "../vendor/vendor.js";
import { usePages } from "../lib/hooks.js";
import { RunTable } from "../parts/run-table.js";
import { Choice, Empty, Filter, More, Range, Trouble, Waiting } from "../parts/ui.js";

export function RunsView({ params }) {
  const asked = { status: params.get("status"), q: params.get("q"), agent: params.get("agent"), from: params.get("from") ?? "", to: params.get("to"), limit: 50 };
  const list = usePages("/api/v1/runs", asked, "runs");
  const narrowed = asked.status || asked.q || asked.from || asked.agent;
  return html`<div class="page-head"><h1>Runs</h1><${Range} params=${params} fallback="" all=${true} /></div>
    <div class="filters"><${Filter} name="q" params=${params} label="Search runs" placeholder="Name, session or id" wide=${true} />
      <${Choice} name="status" params=${params} label="Status" options=${[["", "Any status"], ["error", "Failed"], ["ok", "Succeeded"]]} />
      <${Filter} name="agent" params=${params} label="Agent" /></div>
    <${Trouble} error=${list.error} again=${list.again} />
    ${!list.begun && !list.error && html`<${Waiting} rows="8" />`}
    ${list.items.length > 0 && html`<div class="panel"><${RunTable} rows=${list.items} label="Runs" /></div>`}
    ${list.begun && !list.busy && !list.error && list.items.length === 0 && (narrowed
      ? html`<${Empty} title="No run fits"><p>Widen the time, or take a filter away.</p></${Empty}>`
      : html`<${Empty} title="No runs yet"><p>Point OpenClaw at <code>http://127.0.0.1:9090</code>; each turn of the agent becomes a run here.</p></${Empty}>`)}
    <${More} list=${list} noun="runs" />`;
}
