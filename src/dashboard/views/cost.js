// What the models cost, over time and one by one.

import { html, useMemo } from "../vendor/vendor.js";
import { count, money, percent, plural, tokens } from "../lib/format.js";
import { useAsk } from "../lib/hooks.js";
import { href } from "../lib/route.js";
import { Chart } from "../parts/chart.js";
import { Icon } from "../parts/icon.js";
import { Table } from "../parts/table.js";
import { Empty, Panel, Range, Text, Tile, Trouble, Waiting, sessionLink } from "../parts/ui.js";

/** Bars with a colour of their own; the rest share one. */
const COLOURS = 7;
const STEPS = { "1h": 300, "6h": 900, "24h": 3600, "7d": 21_600, "30d": 86_400 };

export function CostView({ params }) {
  const from = params.get("from") ?? "7d";
  const stats = useAsk("/api/v1/stats", { by: "model", from, step: STEPS[from] }, { every: 60_000 });
  const sessions = useAsk("/api/v1/sessions", { from, limit: 200 }, { every: 60_000 });
  const { data } = stats;
  return html`<div class="page-head"><h1>Cost</h1><${Range} params=${params} fallback="7d" ranges=${["6h", "24h", "7d", "30d"]} /></div>
    <${Trouble} error=${stats.error ?? sessions.error} again=${stats.again} />
    ${!data && !stats.error && html`<${Waiting} rows="6" />`}
    ${data && data.total.calls === 0 && html`<${Empty} title="No model calls in this time"><p>What they cost will stand here. Choose a longer time above.</p></${Empty}>`}
    ${data && data.total.calls > 0 && html`<${Sums} data=${data} /><${Unpriced} data=${data} from=${from} /><${Bars} data=${data} /><${Models} data=${data} />`}
    ${sessions.data?.sessions.some((one) => one.cost_usd > 0) && html`<${Dearest} sessions=${sessions.data.sessions} more=${Boolean(sessions.data.next)} />`}`;
}

function Sums({ data }) {
  const { total } = data;
  const days = (Date.parse(data.to) - Date.parse(data.from)) / 86_400_000;
  const cost = total.cost_usd ?? 0;
  return html`<div class="tiles four">
    <${Tile} label="Spent in this time" value=${money(cost)} note=${plural(total.calls, "model call")} />
    <${Tile} label="A day, on average" value=${days >= 1 ? money(cost / days) : "–"} note=${days >= 1 ? `${money((cost / days) * 30)} in 30 days at this rate` : "choose a day or more"} />
    <${Tile} label="A call, on average" value=${money(cost / Math.max(1, total.calls - total.unpriced))} note="of those with a price" />
    <${Tile} label="Input from the cache" value=${total.input_tokens > 0 ? percent(total.cached_tokens / total.input_tokens) : "–"} note=${`${tokens(total.cached_tokens)} of ${tokens(total.input_tokens)} tokens`} />
  </div>`;
}

function Unpriced({ data, from }) {
  const groups = data.groups.filter((group) => group.unpriced > 0);
  if (groups.length === 0) return null;
  return html`<div class="note warn" role="note"><${Icon} name="error" /><div><strong>${plural(data.total.unpriced, "call")} without a price.</strong> They are in none of these sums:
    ${groups.slice(0, 6).map((group, at) => html`${at > 0 ? ", " : " "}<a href=${href(["events"], { model: group.name, from })}><${Text} of=${group.name} most="48" /></a> (${count(group.unpriced)})`)}${groups.length > 6 ? " and others" : ""}.
    A file of prices of your own tells what they cost: <code>[transforms.cost] prices</code>.</div></div>`;
}

function Bars({ data }) {
  const shown = useMemo(() => {
    const priced = data.groups.filter((group) => (group.cost_usd ?? 0) > 0).sort((a, b) => b.cost_usd - a.cost_usd);
    const series = priced.slice(0, COLOURS).map((group, at) => ({ label: group.name, values: group.series.cost_usd.map((value) => value ?? 0), tone: `s${at}` }));
    const rest = priced.slice(COLOURS);
    if (rest.length > 0) series.push({ label: `${rest.length} others`, tone: "s7", values: data.t.map((_, at) => rest.reduce((sum, group) => sum + (group.series.cost_usd[at] ?? 0), 0)) });
    return { t: data.t, series };
  }, [data]);
  if (shown.series.length === 0) return null;
  const step = data.step_seconds >= 86_400 ? "each day" : data.step_seconds >= 3600 ? `each ${data.step_seconds === 3600 ? "hour" : `${data.step_seconds / 3600} hours`}` : `each ${data.step_seconds / 60} minutes`;
  return html`<${Panel} title=${`Cost by model, a bar for ${step}`} id="bars">
    <${Chart} t=${shown.t} series=${shown.series} stacked=${true} format=${money} tick=${(value) => `$${Number(value.toPrecision(6))}`} height=${240}
      summary=${`Cost over time, ${money(data.total.cost_usd)} in all: ${shown.series.map((one, at) => `${one.label} ${money(one.values.reduce((sum, value) => sum + value, 0))}`).join(", ")}`} /></${Panel}>`;
}

function Models({ data }) {
  const all = data.total.cost_usd || 1;
  const columns = useMemo(() => [
    { key: "name", label: "Model", wide: true, show: (row) => html`<${Text} of=${row.name} most="60" />${row.provider && html`<div class="sub"><${Text} of=${row.provider} most="40" /></div>`}` },
    { key: "cost_usd", label: "Cost", number: true, show: (row) => (row.unpriced === row.calls ? html`<span class="badge warn">no price</span>` : money(row.cost_usd)) },
    { key: "share", label: "Share", number: true, value: (row) => row.cost_usd, show: (row) => html`<span class="share"><span class="share-bar" aria-hidden="true"><i style=${{ width: `${((row.cost_usd ?? 0) / all) * 100}%` }}></i></span>${percent((row.cost_usd ?? 0) / all)}</span>` },
    { key: "calls", label: "Calls", number: true, show: (row) => count(row.calls) },
    { key: "each", label: "A call", number: true, hide: "phone", value: (row) => (row.cost_usd ?? 0) / (row.calls - row.unpriced || 1), show: (row) => (row.unpriced === row.calls ? "–" : money((row.cost_usd ?? 0) / (row.calls - row.unpriced))) },
    { key: "input_tokens", label: "Tokens in", number: true, show: (row) => tokens(row.input_tokens) },
    { key: "cached_tokens", label: "Cached", number: true, hide: "phone", show: (row) => tokens(row.cached_tokens) },
    { key: "output_tokens", label: "Tokens out", number: true, show: (row) => tokens(row.output_tokens) },
  ], [all]);
  return html`<${Panel} title="By model" id="by-model"><${Table} label="Cost by model" columns=${columns} rows=${data.groups} sort=${["cost_usd", true]} rowKey=${(row) => `${row.provider} ${row.name}`} phone="cards" /></${Panel}>`;
}

const SESSIONS = [
  { key: "session_id", label: "Session", wide: true, show: (one) => html`<a class="row-link" href=${sessionLink(one.session_id)}><${Text} of=${one.session_id} most="60" /></a>` },
  { key: "cost_usd", label: "Cost", number: true, show: (one) => money(one.cost_usd) },
  { key: "runs", label: "Runs", number: true, show: (one) => count(one.runs) },
  { key: "each", label: "A run", number: true, show: (one) => money((one.cost_usd ?? 0) / (one.runs || 1)) },
  { key: "llm_calls", label: "Model calls", number: true, hide: "phone", show: (one) => count(one.llm_calls) },
];

function Dearest({ sessions, more }) {
  const rows = useMemo(() => [...sessions].sort((a, b) => (b.cost_usd ?? 0) - (a.cost_usd ?? 0)).slice(0, 10), [sessions]);
  return html`<${Panel} title="Dearest sessions" id="dearest" aside=${more && html`<span class="faint">of the latest ${sessions.length}</span>`}>
    <${Table} label="Dearest sessions" columns=${SESSIONS} rows=${rows} rowKey=${(one) => one.session_id} target=${(one) => sessionLink(one.session_id)} phone="cards" /></${Panel}>`;
}
