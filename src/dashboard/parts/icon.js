// Small pictures, drawn here: a shape beside each colour, since colour alone tells some readers nothing.

import { html } from "../vendor/vendor.js";

const PATHS = {
  now: "M1.5 8h3l2-5 3 10 2-5h3",
  sessions: "M2 3h12v7.5H7L4 13v-2.5H2z",
  runs: "M2 4h7M4.5 8h8M7 12h7",
  events: "M2.5 3.5h.01M5.5 3.5h8M2.5 8h.01M5.5 8h8M2.5 12.5h.01M5.5 12.5h8",
  models: "M8 1.8l1.7 4.5 4.5 1.7-4.5 1.7L8 14.2 6.3 9.7 1.8 8l4.5-1.7z",
  cost: "M8 1.5v13M11.5 4.3C10.8 3.4 9.5 3 8 3 5.8 3 4.5 4 4.5 5.5c0 3.5 7.2 1.5 7.2 5 0 1.5-1.5 2.5-3.7 2.5-1.7 0-3.1-.6-3.8-1.6",
  resources: "M2 13.5V9M6 13.5V3M10 13.5V6.5M14 13.5V10",
  pipeline: "M1.5 8h3M11.5 8h3M4.5 5.5h7v5h-7z",
  llm_call: "M8 1.8l1.7 4.5 4.5 1.7-4.5 1.7L8 14.2 6.3 9.7 1.8 8l4.5-1.7z",
  tool_call: "M10 2.2a3.6 3.6 0 0 0-3.4 4.9L2.2 11.5l2.3 2.3 4.4-4.4A3.6 3.6 0 0 0 13.6 5l-2.2 2.2-2.2-.4-.4-2.2L11 2.4z",
  message: "M2 3h12v7.5H7L4 13v-2.5H2z",
  run: "M4.5 2.5l8 5.5-8 5.5z",
  session: "M2.5 2.5h11v11h-11zM2.5 6h11",
  error: "M8 2L15 14H1zM8 6.5v3.5M8 12h.01",
  exec: "M2.5 4l4 4-4 4M8 12.5h5.5",
  subagent: "M4 2.5v6a3 3 0 0 0 3 3h5M9.5 8.5l3 3-3 3",
  metric: "M2 13.5V9M6 13.5V3M10 13.5V6.5M14 13.5V10",
  other: "M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  pause: "M5 3v10M11 3v10",
  play: "M4.5 2.5l8 5.5-8 5.5z",
  right: "M6 3.5L10.5 8 6 12.5",
  down: "M3.5 6L8 10.5 12.5 6",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5L14 14",
  check: "M3 8.5l3.5 3.5L13 4.5",
  retry: "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
  external: "M9 2.5h4.5V7M13.5 2.5L7.5 8.5M11.5 9.5v4h-9v-9h4",
  download: "M8 2v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11",
  key: "M10.5 2.5a3 3 0 1 0 .01 6 3 3 0 0 0-.01-6zM8.3 7.7L2.5 13.5M4.5 11.5l2 2",
};

export function Icon({ name, size = 14 }) {
  const path = PATHS[name] ?? PATHS.other;
  return html`<svg class="icon" viewBox="0 0 16 16" width=${size} height=${size} aria-hidden="true"><path d=${path} /></svg>`;
}
