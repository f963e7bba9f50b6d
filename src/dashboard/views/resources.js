// What the machine did, on one axis of time with what went wrong.

import { html, useMemo } from "../vendor/vendor.js";
import { bytes, count, percent, plural } from "../lib/format.js";
import { useAsk } from "../lib/hooks.js";
import { gist } from "../lib/messages.js";
import { href, setParams } from "../lib/route.js";
import { Chart } from "../parts/chart.js";
import { Empty, Panel, Range, Text, Time, Trouble, Waiting, runLink } from "../parts/ui.js";

const rate = (value) => (value === null || value === undefined ? "–" : `${bytes(value)}/s`);

/** Series of one chart: `[name, label, tone, options]`. Those of which nothing is known are left out. */
const CHARTS = [
  { title: "CPU", format: percent, top: 1, series: [["cpu_utilization_max", "highest", "s4", {}], ["cpu_utilization", "mean", "s0", { fill: true }], ["cpu_throttling_share", "throttled", "bad", { dash: true }], ["agent_cpu", "agent (CPUs)", "s2", {}]] },
  { title: "Memory", format: bytes, series: [["memory_working_set", "working set", "s1", { fill: true }], ["agent_memory", "agent", "s2", {}], ["memory_limit", "limit", "bad", { dash: true }]] },
  { title: "Pressure: share of time that tasks stood still", format: percent, top: 0.05, series: [["pressure_cpu", "for CPU", "s0", {}], ["pressure_memory", "for memory", "s1", {}], ["pressure_io", "for disk", "s3", {}]] },
  { title: "Disk", format: bytes, series: [["disk_usage", "used", "s3", { fill: true }], ["disk_capacity", "capacity", "bad", { dash: true }]] },
  { title: "Disk traffic", format: rate, series: [["disk_write", "written", "s3", { fill: true }], ["disk_read", "read", "s2", {}]] },
  { title: "Network", format: rate, series: [["network_receive", "received", "s2", { fill: true }], ["network_transmit", "sent", "s5", {}]] },
  { title: "Tasks", format: count, series: [["pids", "processes and threads", "s6", { fill: true }]] },
];

export function ResourcesView({ params }) {
  const from = params.get("from") ?? "1h";
  const to = params.get("to");
  const live = !to;
  const { data, error, again } = useAsk("/api/v1/resources", { from, to, points: 300 }, { every: live ? 15_000 : 0 });
  const zoom = useMemo(() => (low, high) => setParams({ from: new Date(low * 1000).toISOString(), to: new Date(high * 1000).toISOString() }), []);
  const marks = useMemo(() => (data?.incidents ?? []).map((event) => ({ t: Date.parse(event.timestamp) / 1000, tone: "bad" })), [data]);
  const empty = data && !Object.values(data.series).some((values) => values.some((value) => value !== null));
  return html`<div class="page-head"><h1>Resources</h1><${Range} params=${params} fallback="1h" /></div>
    <${Trouble} error=${error} again=${again} />
    ${!data && !error && html`<${Waiting} rows="8" />`}
    ${empty && html`<${Empty} title="No samples in this time"><p>The source <code>cgroup_metrics</code> takes one every 15 seconds. The first comes two samples after a start.</p></${Empty}>`}
    ${data && !empty && html`<p class="hint faint">Draw over a chart to look closer. Dashed red upright lines are errors, listed below.</p>
      <div class="charts">${CHARTS.map((chart) => html`<${One} key=${chart.title} chart=${chart} data=${data} marks=${marks} onZoom=${zoom} />`)}</div>`}
    ${data && html`<${Incidents} events=${data.incidents} />`}`;
}

function One({ chart, data, marks, onZoom }) {
  const series = useMemo(() => chart.series.filter(([name]) => data.series[name]).map(([name, label, tone, more]) => ({ label, tone, values: data.series[name], ...more })), [data]);
  if (series.length === 0) return null;
  const words = series.map((one) => {
    const known = one.values.filter((value) => value !== null);
    return known.length === 0 ? "" : `${one.label} now ${chart.format(known.at(-1))}, highest ${chart.format(Math.max(...known))}`;
  });
  return html`<${Panel} title=${chart.title} id=${`chart-${chart.title.split(/\W/)[0].toLowerCase()}${chart.title.length}`}>
    <${Chart} t=${data.t} series=${series} format=${chart.format} binary=${chart.format !== percent && chart.format !== count} height=${150} top=${chart.top} marks=${marks} sync="resources" onZoom=${onZoom}
      summary=${`${chart.title}: ${words.filter(Boolean).join("; ")}; ${plural(marks.length, "error")} in this time`} /></${Panel}>`;
}

function Incidents({ events }) {
  return html`<${Panel} title="Errors in this time" id="incidents">
    ${events.length === 0 ? html`<${Empty} title="No errors"><p>Nothing failed in this time, and nothing happened to the agent's processes.</p></${Empty}>`
      : html`<ul class="incidents">${events.map((event) => html`<li key=${event.trace_id}><${Time} at=${event.timestamp} />
        <a class="t strong" href=${event.run_id ? runLink(event.run_id, { span: event.trace_id }) : href(["events"], { event: event.trace_id, kind: "error" })}><${Text} of=${event.name ?? "error"} most="40" /></a>
        <${Text} of=${event.error ?? gist(event.output_preview)} most="160" class="faint" /></li>`)}</ul>`}
  </${Panel}>`;
}
