// The whole run in a strip, with the part that is looked at. Drawing a line over it looks closer.

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { useSize } from "../lib/hooks.js";
import { failed, kindClass } from "../lib/kinds.js";
import { colour, useTheme } from "./chart.js";

const HEIGHT = 40;

export function Minimap({ tree, span, onZoom }) {
  const [box, { width }] = useSize();
  const canvas = useRef(null);
  const theme = useTheme();
  const [drag, setDrag] = useState(null);
  const whole = tree.to - tree.from;

  useEffect(() => {
    if (!canvas.current || width === 0) return;
    paint(canvas.current, tree, width);
  }, [tree, width, theme]);

  const share = (event) => {
    const bounds = box.current.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - bounds.left) / bounds.width));
  };
  const down = (event) => {
    if (event.button !== 0) return;
    box.current.setPointerCapture(event.pointerId);
    setDrag([share(event), share(event)]);
  };
  const move = (event) => drag && setDrag([drag[0], share(event)]);
  const up = () => {
    if (!drag) return;
    const [low, high] = drag[0] < drag[1] ? drag : [drag[1], drag[0]];
    setDrag(null);
    if (high - low > 0.004) onZoom({ from: tree.from + low * whole, to: tree.from + high * whole });
  };
  const [low, high] = drag ? [Math.min(...drag), Math.max(...drag)] : [(span.from - tree.from) / whole, (span.to - tree.from) / whole];
  const zoomed = drag || low > 0.0001 || high < 0.9999;
  return html`<div class="minimap" ref=${box} aria-hidden="true" title="Draw over a part to look closer; double click for all"
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onDblClick=${() => onZoom(null)}>
    <canvas ref=${canvas}></canvas>
    ${zoomed && html`<span class="veil" style=${{ left: "0", width: `${low * 100}%` }}></span><span class="veil" style=${{ left: `${high * 100}%`, right: "0" }}></span>
      <span class="window" style=${{ left: `${low * 100}%`, width: `${(high - low) * 100}%` }}></span>`}
  </div>`;
}

function paint(canvas, tree, width) {
  const ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = HEIGHT * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const tones = {};
  const tone = (name) => (tones[name] ??= colour(`k-${name}`));
  const scale = width / (tree.to - tree.from);
  // As many lanes as there are levels, but no more than the strip holds.
  let deepest = 1;
  for (const depth of tree.depth) if (depth > deepest) deepest = depth;
  const lanes = Math.min(deepest + 1, 9);
  const lane = (HEIGHT - 4) / lanes;
  for (const bad of [false, true]) {
    tree.spans.forEach((event, at) => {
      if (failed(event) !== bad) return;
      context.fillStyle = tone(bad ? "error" : kindClass(event.kind));
      const x = (tree.start[at] - tree.from) * scale;
      const wide = Math.max(bad ? 2 : 1, (tree.end[at] - tree.start[at]) * scale);
      context.fillRect(Math.min(x, width - 1), 2 + Math.min(tree.depth[at], lanes - 1) * lane, wide, Math.max(1.5, lane - 1.5));
    });
  }
}
