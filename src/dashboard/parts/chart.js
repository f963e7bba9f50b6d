// Charts over time: uPlot, in the page's colours, with a legend of our own (names are stored text, and are shown as
// text) and words for those who do not see it.

import { html, uPlot, useEffect, useRef, useState } from "../vendor/vendor.js";
import { useSize } from "../lib/hooks.js";
import { moment } from "../lib/format.js";
import { line } from "../lib/text.js";

/** A colour of the page. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** A colour (all of them are written as `#rrggbb`) let through. */
function faded(value, alpha) {
  return `${value}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;
}

/** Which theme is on; a chart is painted anew when it changes. */
export function useTheme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  useEffect(() => {
    const tell = () => setTheme(document.documentElement.dataset.theme);
    window.addEventListener("themechange", tell);
    return () => window.removeEventListener("themechange", tell);
  }, []);
  return theme;
}

/** Steps of an axis of bytes. */
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);

/**
 * `t`: Unix seconds; `series`: `[{ label, values, tone, fill, dash, bars }]`, `tone` a colour's name; `stacked`: series
 * stand on each other. `marks`: `[{ t, label, tone }]`, upright lines. `onZoom(from, to)` in Unix seconds. `tick` writes the numbers of the axis.
 */
export function Chart({ t, series, format, height = 150, stacked, top, floor = 0, marks = [], sync, onZoom, summary, label, legend = true, binary, tick = format }) {
  const [box, { width }] = useSize();
  const plot = useRef(null);
  const target = useRef(null);
  const theme = useTheme();
  const [at, setAt] = useState(null);
  const live = useRef({});
  live.current = { marks, onZoom };
  const shape = series.map((one) => `${one.label}\u0000${one.tone}`).join("\u0001");

  useEffect(() => {
    if (!width || !target.current) return undefined;
    const options = {
      width,
      height,
      padding: [8, 18, 0, 0],
      cursor: {
        y: false,
        points: { show: !stacked, size: 5 },
        drag: { x: Boolean(onZoom), y: false, setScale: false },
        sync: sync ? { key: sync } : undefined,
      },
      legend: { show: false },
      scales: {
        x: { time: true },
        y: { range: (_, low, high) => [Math.min(floor, low ?? 0), Math.max(top ?? 0, (high ?? 0) * 1.06) || 1] },
      },
      axes: [
        { ...axis(), size: 28, space: 70, values: clockTicks },
        { ...axis(), size: 62, space: 34, incrs: binary ? POWERS : undefined, values: (_, ticks) => ticks.map((one) => tick(one)) },
      ],
      series: [{}, ...drawn(series, stacked).map(({ one }) => painted(one, stacked))],
      hooks: {
        draw: [(chart) => drawMarks(chart, live.current.marks)],
        setCursor: [(chart) => setAt(chart.cursor.idx ?? null)],
        setSelect: [
          (chart) => {
            const { left, width: wide } = chart.select;
            if (wide < 4) return;
            const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + wide, "x")];
            chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            live.current.onZoom?.(from, to);
          },
        ],
      },
    };
    plot.current = new uPlot(options, [t, ...drawn(series, stacked).map(({ values }) => values)], target.current);
    return () => {
      plot.current?.destroy();
      plot.current = null;
    };
    // A new shape or theme needs a new plot; new figures do not.
  }, [width > 0, theme, shape, height, stacked, sync, Boolean(onZoom)]);

  useEffect(() => {
    if (width > 0 && plot.current) plot.current.setSize({ width, height });
  }, [width, height]);
  useEffect(() => {
    plot.current?.setData([t, ...drawn(series, stacked).map(({ values }) => values)]);
  }, [t, series, stacked, marks]);

  const index = at !== null && at < t.length ? at : null;
  return html`<figure class="chart">
    <div role="img" aria-label=${summary ?? label} ref=${box} class="chart-box"><div ref=${target}></div></div>
    ${legend && html`<figcaption class="legend" aria-hidden="true"><span class="legend-time">${index === null ? "" : moment(t[index] * 1000)}</span>
      ${series.map((one, place) => html`<span key=${place} class="legend-item"><i class=${`swatch ${one.dash ? "dash" : ""}`} style=${{ "--tone": `var(--${one.tone})` }}></i>
        <span class="t">${line(one.label, 40)}</span><b>${index === null ? "" : format(one.values[index])}</b></span>`)}</figcaption>`}
  </figure>`;
}

/** In the order of painting: stacked ones from the highest sum down, so that each hides the foot of the one above. */
function drawn(series, stacked) {
  if (!stacked) return series.map((one) => ({ one, values: one.values }));
  const sums = new Array(series[0]?.values.length ?? 0).fill(0);
  const out = series.map((one) => ({ one, values: one.values.map((value, at) => (sums[at] += value ?? 0)) }));
  return out.reverse();
}

function painted(one, stacked) {
  const tone = colour(one.tone);
  if (stacked) {
    return { stroke: tone, fill: tone, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.82, 48], align: 1, gap: 1 }) };
  }
  return {
    stroke: tone,
    width: one.fill ? 1.5 : 1.25,
    dash: one.dash ? [5, 4] : undefined,
    fill: one.fill ? faded(tone, 0.12) : undefined,
    spanGaps: false,
    points: { show: false },
  };
}

function axis() {
  const font = "11px system-ui, sans-serif";
  return { stroke: colour("muted"), font, grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, gap: 6 };
}

/** Clock times, and the day where it changes. */
function clockTicks(_, ticks) {
  let day = "";
  return ticks.map((tick) => {
    const text = moment(tick * 1000, new Date(0)).replace(/ \d{4}(?= )/, "");
    const [date, clock] = [text.slice(0, text.lastIndexOf(" ")), text.slice(text.lastIndexOf(" ") + 1)];
    const shown = clock === "00:00" ? date : date === day || day === "" ? clock : `${clock}\n${date}`;
    day = date;
    return shown;
  });
}

function drawMarks(chart, marks) {
  const { ctx, bbox } = chart;
  ctx.save();
  for (const mark of marks) {
    const x = Math.round(chart.valToPos(mark.t, "x", true)) + 0.5;
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = faded(colour(mark.tone), 0.55);
    ctx.lineWidth = Math.max(1, devicePixelRatio);
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

/** The form of a series, without axes. */
export function Spark({ values = [], width = 96, height = 24, tone = "accent", stretch = false }) {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length < 2) return html`<svg class=${`spark ${stretch ? "stretch" : ""}`} width=${width} height=${height} aria-hidden="true"></svg>`;
  const high = Math.max(...known, 0) || 1;
  const step = width / (values.length - 1);
  const y = (value) => (height - 1.5 - (value / high) * (height - 3)).toFixed(1);
  let path = "";
  let pen = "M";
  let area = "";
  let start = 0;
  values.forEach((value, place) => {
    if (!Number.isFinite(value)) {
      if (pen === "L") area += `L${((place - 1) * step).toFixed(1)} ${height}L${start} ${height}Z`;
      pen = "M";
      return;
    }
    const x = (place * step).toFixed(1);
    if (pen === "M") start = x;
    path += `${pen}${x} ${y(value)}`;
    area += `${pen}${x} ${y(value)}`;
    pen = "L";
  });
  if (pen === "L") area += `L${width} ${height}L${start} ${height}Z`;
  return html`<svg class=${`spark ${stretch ? "stretch" : ""}`} viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} preserveAspectRatio="none" aria-hidden="true">
    <path class="spark-area" d=${area} style=${{ fill: `var(--${tone})` }} /><path class="spark-line" d=${path} style=${{ stroke: `var(--${tone})` }} /></svg>`;
}
