// How the sidecar itself does: what it takes in, keeps, sends on and gives up.

import { html, useMemo } from "../vendor/vendor.js";
import { ago, bytes, count, duration, plural } from "../lib/format.js";
import { figures, verdicts } from "../lib/health.js";
import { useAsk, useMedia } from "../lib/hooks.js";
import { line } from "../lib/text.js";
import { Graph } from "../parts/graph.js";
import { Icon } from "../parts/icon.js";
import { Table } from "../parts/table.js";
import { Panel, Tile, Time, Trouble, Waiting } from "../parts/ui.js";

export function PipelineView() {
  const { data, error, again } = useAsk("/api/v1/status", undefined, { every: 10_000 });
  return html`<div class="page-head"><h1>Pipeline</h1>${data && html`<span class="faint">version ${line(data.version, 20)}, up ${duration(data.uptime_seconds * 1000)}</span>`}</div>
    <${Trouble} error=${error} again=${again} />
    ${!data && !error && html`<${Waiting} rows="8" />`}
    ${data && html`<${Status} status=${data} />`}`;
}

function Status({ status }) {
  const narrow = useMedia("(max-width: 640px)");
  const all = useMemo(() => figures(status), [status]);
  const { sum } = all;
  const commits = sum("store_commit_seconds_count");
  // Without an endpoint the sink is there and idle: it counts nothing as waiting.
  const pushing = ["push_pending", "push_last_success_timestamp_seconds", "push_requests_total"].some((name) => sum(name) > 0);
  const success = sum("push_last_success_timestamp_seconds");
  return html`<ul class="verdicts">${verdicts(status).map((one) => html`<li key=${one.title} class=${`verdict v-${one.level}`}><${Icon} name=${one.level === "ok" ? "check" : "error"} size="16" />
      <div><strong>${one.title}</strong><p>${line(one.text, 400)}</p></div></li>`)}</ul>
    <div class="tiles">
      <${Tile} label="In flight" value=${count(sum("in_flight_events"))} note=${`${bytes(sum("in_flight_bytes"))}; ${plural(sum("queue_batches") ?? 0, "batch", "batches")} in queues`} />
      <${Tile} label="Stored since the start" value=${count(sum("store_events_total"))} note=${`${count(sum("store_duplicates_total"))} came twice and were kept once`} />
      <${Tile} label="Commit, on average" value=${commits > 0 ? duration((sum("store_commit_seconds_sum") / commits) * 1000) : "–"} note=${`${count(commits)} group writes`} />
      <${Tile} label="Store" value=${bytes(status.store?.bytes ?? sum("store_bytes"))} note=${html`${count(status.store?.events)} events${status.store?.first ? html`, since <${Time} at=${status.store.first} />` : ""}`} />
      <${Tile} label="Write-ahead log" value=${bytes(sum("store_wal_bytes"))} note="shrinks at checkpoints" />
      <${Tile} label="Refused" value=${count(sum("refused_total") ?? 0)} tone=${sum("refused_total") > 0 ? "tone-warn" : ""} note="asked to wait and send again" />
      <${Tile} label="Push" value=${!pushing ? "off" : sum("push_breaker_open") > 0 ? "resting" : count(sum("push_pending"))}
        note=${!pushing ? "no endpoint is set; all is kept here" : html`waiting; ${success > 0 ? `last confirmed ${ago(success * 1000)}` : "nothing confirmed yet"}`} />
    </div>
    <${Panel} title="Components" id="components">
      <${Graph} components=${status.components} upright=${narrow} note=${(one) => noteOf(one, all)} tone=${(one) => toneOf(one, all)} />
    </${Panel}>
    <${Panel} title="All figures" id="figures" aside=${html`<span class="faint">what <code>/metrics</code> says</span>`}><${Figures} status=${status} /></${Panel}>`;
}

function noteOf({ name, type }, { sum }) {
  const say = (figure, word, label) => (sum(figure, name, label) === undefined ? undefined : `${count(sum(figure, name, label))} ${word}`);
  const notes = {
    http_ingest: say("admitted_events_total", "taken"),
    cgroup_metrics: say("admitted_events_total", "samples"),
    gateway_log: say("gateway_log_lines_taken_total", "lines"),
    // A source and a sink have this name.
    file: say("file_lines_read_total", "lines") ?? say("file_events_written_total", "written"),
    dedupe: say("dedupe_dropped_total", "repeats"),
    assemble: say("assemble_joined_total", "joined"),
    cost: say("cost_events_total", "calls"),
    redact: say("redact_replacements_total", "replaced"),
    truncate: say("truncate_fields_total", "cut"),
    filter: say("filter_dropped_total", "dropped"),
    sample: say("sample_dropped_total", "dropped"),
    sqlite_store: say("store_events_total", "stored"),
    console: say("console_events_shown_total", "shown"),
    augmi_push: say("push_events_total", "pushed"),
    clickhouse: say("push_events_total", "kept"),
    otlp_push: say("push_events_total", "pushed"),
  };
  return notes[type] ?? say("admitted_events_total", "taken") ?? "";
}

function toneOf({ name }, { sum }) {
  const bad = ["queue_lost_total", "store_failures_total", "push_breaker_open", "store_deleted_unsent_total", "file_write_failures_total"];
  if (bad.some((figure) => sum(figure, name) > 0)) return "bad";
  const odd = ["refused_total", "push_rejected_total", "otlp_push_rejected_total", "ingest_rejected_total", "file_lines_rejected_total", "console_events_discarded_total"];
  return odd.some((figure) => sum(figure, name) > 0) ? "warn" : "";
}

const COLUMNS = [
  { key: "component", label: "Component", show: (one) => line(one.component ?? "", 40) },
  { key: "name", label: "Figure", wide: true, show: (one) => html`<span class="mono">${line(one.name, 80)}</span>` },
  { key: "labels", label: "Of", value: (one) => Object.values(one.labels ?? {}).join(" "), show: (one) => html`<span class="mono faint">${line(Object.entries(one.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" "), 80)}</span>` },
  { key: "value", label: "Value", number: true, show: (one) => figure(one) },
];

function figure({ name, value }) {
  if (/_bytes(_total)?$/.test(name)) return html`<span title=${count(value)}>${bytes(value)}</span>`;
  if (/_timestamp_seconds$/.test(name)) return value > 0 ? html`<${Time} at=${new Date(value * 1000).toISOString()} />` : "never";
  if (/_seconds_sum$/.test(name)) return duration(value * 1000);
  return Number.isInteger(value) ? count(value) : String(value);
}

function Figures({ status }) {
  return html`<${Table} label="All figures" columns=${COLUMNS} rows=${status.metrics} sort=${["component", false]} rowKey=${(one) => `${one.name} ${one.component} ${JSON.stringify(one.labels)}`} />`;
}
