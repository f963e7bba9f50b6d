// What goes on: today's figures, the machine, the latest runs, and events as they come.

import { html, useMemo } from "../vendor/vendor.js";
import { bytes, costOf, count, duration, money, percent, plural, tokens } from "../lib/format.js";
import { useAsk, useMidnight, useNow } from "../lib/hooks.js";
import { href } from "../lib/route.js";
import { Spark } from "../parts/chart.js";
import { Tail } from "../parts/tail.js";
import { Ago, Empty, Meter, Panel, Status, Text, Tile, Trouble, Waiting, runLink } from "../parts/ui.js";

const EVERY = 12_000;

export function NowView() {
  const midnight = useMidnight();
  const models = useAsk("/api/v1/stats", { by: "model", from: midnight }, { every: EVERY });
  const kinds = useAsk("/api/v1/stats", { by: "kind", from: midnight }, { every: EVERY });
  const machine = useAsk("/api/v1/resources", { from: "1h", points: 60 }, { every: 15_000 });
  const runs = useAsk("/api/v1/runs", { limit: 12 }, { every: EVERY });
  const error = models.error ?? kinds.error ?? machine.error ?? runs.error;
  return html`<div class="page-head"><h1>Now</h1></div>
    <${Trouble} error=${error} />
    <div class="tiles">
      <${Today} models=${models.data} kinds=${kinds.data} />
      <${Machine} data=${machine.data} known=${machine.data !== undefined} />
    </div>
    <div class="now-columns">
      <${Tail} />
      <${Latest} runs=${runs.data?.runs} error=${runs.error} />
    </div>`;
}

function Today({ models, kinds }) {
  const total = models?.total;
  const failures = useMemo(() => failuresOf(kinds), [kinds]);
  const input = total?.input_tokens ?? 0;
  const seen = total !== undefined;
  return html`
    <${Tile} label="Spend today" value=${seen ? money(total.cost_usd ?? 0) : "–"} link=${href(["cost"])}
      note=${seen && total.unpriced > 0 ? html`<span class="warn-text">${plural(total.unpriced, "call")} without a price</span>` : `${seen && total.calls > 0 && total.cost_usd ? `${money(total.cost_usd / total.calls)} a call` : "since midnight"}`}>
      <${Spark} values=${total?.series.cost_usd} tone="accent" stretch=${true} /></${Tile}>
    <${Tile} label="Model calls today" value=${seen ? count(total.calls) : "–"} link=${href(["models"])}
      note=${seen && total.duration_ms ? `p50 ${duration(total.duration_ms.p50)}, p95 ${duration(total.duration_ms.p95)}` : "since midnight"}>
      <${Spark} values=${total?.series.calls} tone="k-llm_call" stretch=${true} /></${Tile}>
    <${Tile} label="Tokens today" value=${seen ? tokens(input + (total.output_tokens ?? 0)) : "–"}
      note=${seen && input > 0 ? `${tokens(input)} in, ${percent(total.cached_tokens / input)} of it cached · ${tokens(total.output_tokens)} out` : "since midnight"}>
      <${Spark} values=${total?.series.input_tokens} tone="k-tool_call" stretch=${true} /></${Tile}>
    <${Tile} label="Failures today" value=${failures ? count(failures.sum) : "–"} tone=${failures?.sum > 0 ? "tone-bad" : ""} link=${href(["events"], { status: "error", from: "24h" })}
      note=${failures ? failures.words : "since midnight"}>
      <${Spark} values=${failures?.series} tone="bad" stretch=${true} /></${Tile}>`;
}

/** What failed, told once: a failed turn is a `run` besides the call or error that failed it. */
function failuresOf(kinds) {
  if (!kinds) return undefined;
  const groups = kinds.groups.filter((group) => group.name !== "run" && group.errors > 0);
  const words = { llm_call: "model call", tool_call: "tool call", error: "error" };
  const parts = groups.slice(0, 3).map((group) => plural(group.errors, words[group.name] ?? group.name));
  return {
    sum: groups.reduce((sum, group) => sum + group.errors, 0),
    words: parts.join(" · ") || "nothing failed",
    series: kinds.t.map((_, at) => groups.reduce((sum, group) => sum + (group.series.errors[at] ?? 0), 0)),
  };
}

function Machine({ data, known }) {
  const series = data?.series ?? {};
  const last = (name) => series[name]?.findLast((value) => value !== null);
  const cpu = last("cpu_utilization");
  const memory = last("memory_working_set");
  const limit = last("memory_limit");
  const disk = last("disk_usage");
  const capacity = last("disk_capacity");
  const diskShare = last("disk_utilization") ?? (disk && capacity ? disk / capacity : undefined);
  const throttled = last("cpu_throttling_share");
  const link = href(["resources"]);
  const none = known ? "no sample in the last hour" : "";
  return html`
    <${Tile} label="CPU" value=${percent(cpu)} link=${link} note=${cpu === undefined ? none : throttled > 0.001 ? html`<span class="warn-text">throttled ${percent(throttled)} of the time</span>` : "of its limit"}>
      <${Spark} values=${series.cpu_utilization} tone="k-exec" stretch=${true} /></${Tile}>
    <${Tile} label="Memory" value=${bytes(memory)} link=${link} note=${memory === undefined ? none : limit ? `${percent(memory / limit)} of ${bytes(limit)}` : "no limit known"}>
      <${Meter} share=${memory / limit} label="Memory used" /></${Tile}>
    <${Tile} label="Disk" value=${bytes(disk)} link=${link} note=${disk === undefined ? none : capacity ? `${percent(diskShare)} of ${bytes(capacity)}` : ""}>
      <${Meter} share=${diskShare} label="Disk used" /></${Tile}>`;
}

function Latest({ runs, error }) {
  const now = useNow(10_000);
  return html`<${Panel} title="Latest runs" id="latest" aside=${html`<a href="#/runs">All runs</a>`}>
    ${!runs && !error && html`<${Waiting} rows="6" />`}
    ${runs?.length === 0 && html`<${Empty} title="No runs yet"><p>Point OpenClaw at <code>http://127.0.0.1:9090</code>; each turn of the agent becomes a run here.</p></${Empty}>`}
    ${runs?.length > 0 && html`<ul class="run-list">${runs.map((run) => html`<li key=${run.run_id}><a href=${runLink(run.run_id)}>
      <span class="run-line"><${Text} of=${run.name ?? run.run_id} most="60" class="strong" /><${Status} event=${run} /><span class="grow"></span><span class="faint"><${Ago} at=${run.started} now=${now} /></span></span>
      <span class="run-line faint"><${Text} of=${run.model ?? "no model call"} most="32" /><span class="grow"></span>
        <span>${duration(run.duration_ms)}</span><span>${tokens((run.input_tokens ?? 0) + (run.output_tokens ?? 0))} tok</span><span class="cost">${costOf(run)}</span></span>
    </a></li>`)}</ul>`}
  </${Panel}>`;
}
