// What kinds of events are called and how they are told apart.

/** Kinds with a colour and a shape of their own; the others share one. */
const KNOWN = {
  llm_call: "Model call",
  tool_call: "Tool call",
  message: "Message",
  run: "Run",
  session: "Session",
  error: "Error",
  exec: "Command",
  subagent: "Sub-agent",
  metric: "Metric",
};

export const KINDS = ["llm_call", "tool_call", "message", "run", "session", "error", "exec", "subagent", "compaction", "cron", "gateway", "log", "usage", "metric", "link"];

export function kindLabel(kind) {
  return KNOWN[kind] ?? String(kind ?? "event").replace(/[_.]/g, " ");
}

/** The end of a class name and the name of the shape. */
export function kindClass(kind) {
  return KNOWN[kind] ? kind : "other";
}

/** Whether an event tells of a failure. */
export function failed(event) {
  return event.status === "error" || event.kind === "error";
}
