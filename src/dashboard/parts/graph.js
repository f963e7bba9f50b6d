// The pipeline as a picture: sources, transforms and sinks from left to right, on a narrow page from top to bottom.

import { html, useMemo } from "../vendor/vendor.js";
import { line } from "../lib/text.js";

const WIDE = 122;
const HIGH = 64;
const GAP = 22;
const SIDE = 16;

/** `note(component)`: a line of figures below the name; `tone(component)`: `bad`, `warn` or nothing. */
export function Graph({ components, note, tone, upright }) {
  const drawn = useMemo(() => layout(components, upright), [components, upright]);
  return html`<div class="graph"><svg width=${drawn.width} height=${drawn.height} viewBox=${`0 0 ${drawn.width} ${drawn.height}`} role="img"
      aria-label=${`The pipeline: ${components.map((one) => `${one.name} reads ${one.inputs.length > 0 ? one.inputs.join(" and ") : "from outside"}`).join("; ")}`}>
    ${drawn.edges.map(([from, to]) => html`<path class="edge" d=${curve(from, to, upright)} />`)}
    ${drawn.nodes.map(({ component, x, y }) => html`<g transform=${`translate(${x} ${y})`} class=${`node n-${component.section} ${tone(component)}`}>
      <rect width=${WIDE} height=${HIGH} rx="7" /><text class="node-name" x="12" y="22">${line(component.name, 16)}</text>
      <text class="node-type" x="12" y="37">${line(component.type, 19)}</text><text class="node-note" x="12" y="53">${line(note(component), 22)}</text></g>`)}
  </svg></div>`;
}

function layout(components, upright) {
  const byName = new Map(components.map((one) => [one.name, one]));
  const level = new Map();
  const of = (one, way = new Set()) => {
    if (level.has(one.name)) return level.get(one.name);
    if (way.has(one.name)) return 0;
    way.add(one.name);
    const above = one.inputs.map((name) => byName.get(name)).filter(Boolean).map((input) => of(input, way) + 1);
    const found = Math.max(0, ...above);
    level.set(one.name, found);
    return found;
  };
  components.forEach((one) => of(one));
  // A source stands just before who reads it first, so that lines are short.
  for (const one of components) {
    if (one.inputs.length > 0) continue;
    const readers = components.filter((other) => other.inputs.includes(one.name)).map((other) => level.get(other.name));
    if (readers.length > 0) level.set(one.name, Math.max(0, Math.min(...readers) - 1));
  }
  const lanes = [];
  const places = new Map();
  // What reads comes first, so that the long chain is straight and sources stand beside it.
  for (const one of [...components].sort((a, b) => (a.inputs.length === 0) - (b.inputs.length === 0))) {
    const at = level.get(one.name);
    lanes[at] = (lanes[at] ?? 0) + 1;
    places.set(one.name, [at, lanes[at] - 1]);
  }
  const nodes = components.map((component) => {
    const [along, across] = places.get(component.name);
    return upright
      ? { component, x: 1 + across * (WIDE + SIDE), y: 1 + along * (HIGH + GAP) }
      : { component, x: 1 + along * (WIDE + GAP), y: 1 + across * (HIGH + SIDE) };
  });
  const at = new Map(nodes.map((node) => [node.component.name, node]));
  const edges = components.flatMap((one) => one.inputs.filter((name) => at.has(name)).map((name) => [at.get(name), at.get(one.name)]));
  return { nodes, edges, width: Math.max(...nodes.map(({ x }) => x), 0) + WIDE + 2, height: Math.max(...nodes.map(({ y }) => y), 0) + HIGH + 2 };
}

function curve(from, to, upright) {
  if (upright) {
    const [x1, y1, x2, y2] = [from.x + WIDE / 2, from.y + HIGH, to.x + WIDE / 2, to.y];
    return `M${x1} ${y1}C${x1} ${y1 + GAP / 2} ${x2} ${y2 - GAP / 2} ${x2} ${y2}`;
  }
  const [x1, y1, x2, y2] = [from.x + WIDE, from.y + HIGH / 2, to.x, to.y + HIGH / 2];
  return `M${x1} ${y1}C${x1 + GAP / 2} ${y1} ${x2 - GAP / 2} ${y2} ${x2} ${y2}`;
}
