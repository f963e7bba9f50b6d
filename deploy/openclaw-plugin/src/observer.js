// Which hook goes where, and how what is told becomes an event.

import { eventJson } from "./events.js";
import { Happenings } from "./happenings.js";
import { Runs } from "./runs.js";
import { Sessions } from "./sessions.js";

const OF_RUNS = ["llm_input", "llm_output", "model_call_started", "model_call_ended", "agent_end"];
const OF_TOOLS = ["before_tool_call", "after_tool_call"];
const ALONE = [
  "message_received",
  "message_sending",
  "message_sent",
  "session_start",
  "session_end",
  "before_compaction",
  "after_compaction",
  "subagent_spawned",
  "subagent_progress",
  "subagent_ended",
  "cron_changed",
  "gateway_start",
  "gateway_stop",
];

export const HOOKS = [...OF_RUNS, ...OF_TOOLS, ...ALONE];

export class Observer {
  /**
   * @param {object} options
   * @param {import("./events.js").Content} options.content
   * @param {number} options.maxHeldBytes
   * @param {{emit: (runId: string | undefined, json: string) => void, failed: (runId: string) => void, close: (runId: string) => void}} options.out
   * @param {object} [options.limits]
   */
  constructor({ content, maxHeldBytes, out, limits }) {
    this.out = out;
    this.sessions = new Sessions();
    const tell = (run, who, fields) => this.#tell(run, who, fields);
    this.runs = new Runs({ content, maxHeldBytes, tell, out, limits });
    const alone = new Happenings({ content, tell, runs: this.runs, sessions: this.sessions });
    this.alone = alone;
    this.runs.onBegun = (run) => alone.begun(run);
    this.parts = new Map([
      ...OF_RUNS.map((hook) => [hook, this.runs]),
      ...OF_TOOLS.map((hook) => [hook, this.runs.tools]),
      ...ALONE.map((hook) => [hook, alone]),
    ]);
  }

  /** @param {{hook: string, event: any, ctx: any, at: number}} note a hook as it was fired */
  take({ hook, event, ctx, at }) {
    const part = this.parts.get(hook);
    if (!part) return;
    const body = event !== null && typeof event === "object" ? event : {};
    part[hook](body, this.sessions.identify(body, ctx !== null && typeof ctx === "object" ? ctx : {}), at);
  }

  /** Tells what has been over for long enough. Returns the milliseconds until there is more, or undefined. */
  sweep(now) {
    const next = Math.min(this.runs.sweep(now), this.alone.sweep(now));
    return next === Infinity ? undefined : next;
  }

  /** Tells everything that is held: nothing more will come. */
  closeAll(now) {
    this.runs.closeAll(now);
    this.alone.closeAll(now);
  }

  #tell(run, who, fields) {
    const runId = fields.runId ?? run?.id ?? who.runId;
    const attributes = { "openclaw.session_key": who.sessionKey, "otel.trace_id": who.traceId ?? run?.traceId, ...fields.attributes };
    this.out.emit(runId, eventJson({ sessionId: who.sessionId, agentId: who.agentId, ...fields, runId, attributes }));
    if (fields.status === "error" && runId) this.out.failed(runId);
  }
}
