// The tree of a run's events. Everything here is linear in their number, since a run may have tens of thousands, and
// holds for whatever was sent: parents that never came, an event that is its own parent, circles, equal span ids.

import { failed } from "./kinds.js";

/**
 * From spans in order of time: `{ spans, order, depth, size, parent, start, end, attempt, from, to }`. `order` is the
 * places of all spans as they are read from top to bottom; `depth` and `size` (of the part of the tree that hangs below,
 * itself included) go by place; `attempt` counts the failed tries of the same thing before this one.
 */
export function buildTree(spans) {
  const count = spans.length;
  const parent = parents(spans);
  const { first, next } = children(parent);
  const order = new Int32Array(count);
  const depth = new Int32Array(count);
  const size = new Int32Array(count).fill(1);

  let filled = 0;
  for (let root = 0; root < count; root += 1) {
    if (parent[root] >= 0) continue;
    // Down to the first child, else on to the next sibling of the nearest one above that has one.
    let at = root;
    for (;;) {
      order[filled] = at;
      filled += 1;
      if (first[at] >= 0) {
        depth[first[at]] = depth[at] + 1;
        at = first[at];
        continue;
      }
      while (at !== root && next[at] < 0) at = parent[at];
      if (at === root) break;
      depth[next[at]] = depth[at];
      at = next[at];
    }
  }
  for (let place = count - 1; place >= 0; place -= 1) {
    const at = order[place];
    if (parent[at] >= 0) size[parent[at]] += size[at];
  }
  return { spans, order, depth, size, parent, attempt: attempts(spans, parent), ...times(spans) };
}

function parents(spans) {
  const count = spans.length;
  const bySpan = new Map();
  spans.forEach((span, at) => {
    if (span.span_id && !bySpan.has(span.span_id)) bySpan.set(span.span_id, at);
  });
  const parent = new Int32Array(count).fill(-1);
  spans.forEach((span, at) => {
    const above = span.parent_span_id ? bySpan.get(span.parent_span_id) : undefined;
    if (above !== undefined && above !== at) parent[at] = above;
  });
  // Whoever is met twice on one way up stands in a circle: it is cut there.
  const NEW = 0;
  const DONE = -1;
  const seen = new Int32Array(count);
  for (let begin = 0; begin < count; begin += 1) {
    const way = begin + 1;
    let at = begin;
    while (at >= 0 && seen[at] === NEW) {
      seen[at] = way;
      if (parent[at] >= 0 && seen[parent[at]] === way) parent[at] = -1;
      at = parent[at];
    }
    for (at = begin; at >= 0 && seen[at] === way; at = parent[at]) seen[at] = DONE;
  }
  return parent;
}

/** Children as chains, in order of time. */
function children(parent) {
  const first = new Int32Array(parent.length).fill(-1);
  const next = new Int32Array(parent.length).fill(-1);
  for (let at = parent.length - 1; at >= 0; at -= 1) {
    if (parent[at] < 0) continue;
    next[at] = first[parent[at]];
    first[parent[at]] = at;
  }
  return { first, next };
}

/** The same thing under the same parent, after a failure: one more try. */
function attempts(spans, parent) {
  const attempt = new Int32Array(spans.length);
  const last = new Map();
  spans.forEach((span, at) => {
    if (span.kind !== "llm_call" && span.kind !== "tool_call") return;
    const key = `${parent[at]} ${span.kind} ${span.name}`;
    const before = last.get(key);
    if (before !== undefined && failed(spans[before])) attempt[at] = attempt[before] + 1;
    last.set(key, at);
  });
  return attempt;
}

function times(spans) {
  const start = new Float64Array(spans.length);
  const end = new Float64Array(spans.length);
  let from = Infinity;
  let to = -Infinity;
  spans.forEach((span, at) => {
    start[at] = Date.parse(span.timestamp);
    end[at] = start[at] + (span.duration_ms ?? 0);
    if (start[at] < from) from = start[at];
    if (end[at] > to) to = end[at];
  });
  if (!(to > from)) to = from + 1;
  return { start, end, from, to };
}

/** The places that show, in order, where some are folded. */
export function shown(tree, folded) {
  const rows = [];
  for (let place = 0; place < tree.order.length; ) {
    const at = tree.order[place];
    rows.push(at);
    place += folded.has(at) ? tree.size[at] : 1;
  }
  return rows;
}

/**
 * Where the time went: `{ llm_call, tool_call, other }` in milliseconds, together what the run took. A tool that waits for
 * a model (a sub-agent) counts as the model; whatever ran at once counts once.
 */
export function timeSpent(tree) {
  const isModel = (event) => event.kind === "llm_call";
  const models = covered(tree, isModel);
  const both = covered(tree, (event) => isModel(event) || event.kind === "tool_call" || event.kind === "exec");
  return { llm_call: models, tool_call: both - models, other: tree.to - tree.from - both };
}

/** How long any of them ran; they stand in order of their starts. */
function covered({ spans, start, end }, counts) {
  let sum = 0;
  let reached = -Infinity;
  spans.forEach((event, at) => {
    if (!counts(event) || end[at] <= reached) return;
    sum += end[at] - Math.max(start[at], reached);
    reached = end[at];
  });
  return sum;
}
