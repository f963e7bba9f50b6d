// A run's events as rows with bars on one axis of time. Only the rows that can be seen are in the page, however many
// there are.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/vendor.js";
import { duration, money, tokens } from "../lib/format.js";
import { useSize } from "../lib/hooks.js";
import { failed, kindClass, kindLabel } from "../lib/kinds.js";
import { hits, line } from "../lib/text.js";
import { Icon } from "./icon.js";

/** Rows outside of what is seen, so that a quick hand finds no empty ones. */
const BEYOND = 10;

/**
 * `rows`: places of the tree's spans that show; `span`: the times that the bars stand between. `onKey` gets what the
 * rows themselves do not answer.
 */
export function Waterfall({ tree, rows, folded, selected, span, matches, find, narrow, onSelect, onOpen, onFold, onKey }) {
  const height = narrow ? 46 : 28;
  const [box, size] = useSize();
  const [top, setTop] = useState(0);
  const place = rows.indexOf(selected);
  const frame = useRef(0);

  const scrolled = () => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => box.current && setTop(box.current.scrollTop));
  };
  useEffect(() => () => cancelAnimationFrame(frame.current), []);

  // What is selected is in sight, also when it was chosen by a key or a link.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || place < 0 || size.height === 0) return;
    const at = place * height;
    if (at < element.scrollTop) element.scrollTop = at - Math.min(at, height * 2);
    else if (at + height > element.scrollTop + size.height) element.scrollTop = at + height * 3 - size.height;
    setTop(element.scrollTop);
  }, [selected, place, size.height > 0, height]);

  const keys = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(size.height / height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length, j: 1, k: -1 };
    const step = steps[event.key];
    const one = rows[place];
    if (step !== undefined) {
      const next = Math.max(0, Math.min(rows.length - 1, place < 0 ? 0 : place + step));
      if (rows.length > 0) onSelect(rows[next]);
    } else if (event.key === "ArrowRight" && one !== undefined) {
      if (folded.has(one)) onFold(one);
      else if (tree.size[one] > 1) onSelect(rows[place + 1]);
    } else if (event.key === "ArrowLeft" && one !== undefined) {
      if (tree.size[one] > 1 && !folded.has(one)) onFold(one);
      else if (tree.parent[one] >= 0) onSelect(tree.parent[one]);
    } else if (event.key === "Enter" && one !== undefined) {
      onOpen(one, true);
    } else if (!onKey(event)) {
      return;
    }
    event.preventDefault();
  };

  const begin = Math.max(0, Math.floor(top / height) - BEYOND);
  const end = Math.min(rows.length, Math.ceil((top + size.height) / height) + BEYOND);
  return html`<div class="rows" ref=${box} onScroll=${scrolled} tabindex="0" role="tree" aria-label="Events of the run" onKeyDown=${keys}
      aria-activedescendant=${place >= begin && place < end ? `row-${selected}` : undefined}>
    <div class="rows-all" role="presentation" style=${{ height: `${rows.length * height}px` }}>
      ${rows.slice(begin, end).map((at, offset) => html`<${Row} key=${at} at=${at} tree=${tree} y=${(begin + offset) * height} height=${height} span=${span}
        folded=${folded.has(at)} isSelected=${at === selected} isMatch=${matches?.has(at)} find=${find} onOpen=${onOpen} onFold=${onFold} />`)}
    </div></div>`;
}

function Row({ at, tree, y, height, span, folded, isSelected, isMatch, find, onOpen, onFold }) {
  const event = tree.spans[at];
  const bad = failed(event);
  const parent = tree.size[at] > 1;
  const attempt = tree.attempt[at];
  const depth = Math.min(tree.depth[at], 24);
  const name = line(event.name ?? kindLabel(event.kind), 120);
  return html`<div class=${`row k-${kindClass(event.kind)} ${isSelected ? "selected" : ""} ${isMatch ? "match" : ""} ${bad ? "bad" : ""}`} id=${`row-${at}`} role="treeitem"
      aria-level=${tree.depth[at] + 1} aria-selected=${isSelected} aria-expanded=${parent ? !folded : undefined}
      style=${{ top: `${y}px`, height: `${height}px`, "--depth": depth }} onClick=${() => onOpen(at, false)}>
    <div class="row-name">
      ${parent
        ? html`<span class="fold" aria-hidden="true" onClick=${(click) => {
            click.stopPropagation();
            onFold(at);
          }}><${Icon} name=${folded ? "right" : "down"} size="12" /></span>`
        : html`<span class="fold"></span>`}
      <span class="row-icon"><${Icon} name=${kindClass(event.kind)} size="13" /></span><span class="sr">${line(kindLabel(event.kind), 40)}${bad ? ", failed" : ""}: </span>
      <span class="t row-text" title=${line(event.name ?? "", 400)}>${find && isMatch ? hits(name, find).map(({ text, hit }, key) => (hit ? html`<mark key=${key}>${text}</mark>` : text)) : name}</span>
      ${folded && html`<span class="count">+${tree.size[at] - 1}</span>`}
      ${attempt > 0 && html`<span class="badge warn" title="The same was tried before, and failed"><${Icon} name="retry" size="10" /><span class="word">retry </span>${attempt}</span>`}
      ${bad && html`<span class="row-bad" title=${line(event.error ?? "failed", 300)}><${Icon} name="error" size="13" /></span>`}
    </div>
    <div class="row-figures"><span>${event.input_tokens > 0 || event.output_tokens > 0 ? tokens((event.input_tokens ?? 0) + (event.output_tokens ?? 0)) : ""}</span>
      <span>${event.cost_usd > 0 ? money(event.cost_usd) : event.unpriced ? "no price" : ""}</span></div>
    <${Bar} start=${tree.start[at]} end=${tree.end[at]} span=${span} bad=${bad} label=${event.duration_ms === undefined ? "" : duration(event.duration_ms)} />
  </div>`;
}

function Bar({ start, end, span, bad, label }) {
  const length = span.to - span.from;
  const left = ((start - span.from) / length) * 100;
  const right = ((end - span.from) / length) * 100;
  const low = Math.max(0, Math.min(100, left));
  const high = Math.max(0, Math.min(100, right));
  const seen = right >= 0 && left <= 100;
  // The words stand where there is room: behind the bar, else before it, else in it.
  const place = high <= 86 ? "" : low > 14 ? "before" : "inside";
  const labelAt = place === "before" ? { right: `${100 - low}%` } : place === "inside" ? { right: `${100 - high}%` } : { left: `${high}%` };
  return html`<div class="bar-box">${seen && html`<span class=${`bar ${bad ? "bad" : ""}`} style=${{ left: `min(${low}%, 100% - 2px)`, width: `${high - low}%` }}></span>
    <span class=${`bar-label ${place}`} style=${labelAt}>${label}</span>`}</div>`;
}

/** The axis above the bars. */
export function Axis({ span, from }) {
  const length = span.to - span.from;
  const step = niceStep(length / 5);
  const ticks = [];
  for (let at = Math.ceil((span.from - from) / step) * step; at <= span.to - from && ticks.length < 12; at += step) ticks.push(at);
  return html`<div class="axis" aria-hidden="true">${ticks.map((at) => {
    const share = ((at + from - span.from) / length) * 100;
    return share > 90 ? null : html`<span key=${at} style=${{ left: `${share}%` }}>${at === 0 ? "0" : duration(at).replace(".0 s", " s")}</span>`;
  })}</div>`;
}

function niceStep(rough) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1800e3, 3600e3, 7200e3, 21600e3, 43200e3, 86400e3];
  return steps.find((step) => step >= rough) ?? rough;
}
