// Tool calls: one event each, when the call has ended or its run has.

import { spanId } from "./events.js";
import { number, text } from "./values.js";

const MOST_TOOLS = 500;

export class Tools {
  /**
   * @param {object} options
   * @param {import("./events.js").Content} options.content
   * @param {Function} options.tell
   * @param {import("./runs.js").Runs} options.runs
   */
  constructor({ content, tell, runs }) {
    this.content = content;
    this.tell = tell;
    this.runs = runs;
  }

  before_tool_call(event, who, at) {
    if (!who.runId || !text(event.toolCallId)) return;
    const run = this.runs.of(who, at);
    if (run.tools.size >= MOST_TOOLS) this.tellLost(run, run.tools.keys().next().value, at);
    // Held by reference: the parameters live as long as the tool runs anyway, and are needed only if its end never comes.
    run.tools.set(event.toolCallId, { name: text(event.toolName), params: event.params, at });
  }

  after_tool_call(event, who, at) {
    const run = who.runId ? this.runs.of(who, at) : undefined;
    const toolCallId = text(event.toolCallId);
    const begun = toolCallId ? run?.tools.get(toolCallId) : undefined;
    if (run && toolCallId) run.tools.delete(toolCallId);
    const durationMs = number(event.durationMs) ?? (begun ? at - begun.at : undefined);
    const result = event.result;
    const details = result?.details;
    const failed = text(event.error) !== undefined || result?.isError === true || details?.status === "error" || details?.status === "failed";
    this.#tellTool(run, who, {
      name: text(event.toolName) ?? begun?.name,
      toolCallId,
      input: this.content.of(event.params ?? begun?.params),
      output: this.content.of(result),
      timestamp: begun?.at ?? at - (durationMs ?? 0),
      durationMs,
      status: failed ? "error" : "ok",
      error: failed ? this.content.error(text(event.error) ?? text(details?.error) ?? "the tool reported an error", text(details?.status)) : undefined,
      exitCode: number(details?.exitCode),
    });
  }

  /** The run has ended, or has too many calls under way. */
  tellLost(run, toolCallId, at) {
    const tool = run.tools.get(toolCallId);
    run.tools.delete(toolCallId);
    this.#tellTool(run, { runId: run.id }, {
      name: tool.name,
      toolCallId,
      input: this.content.of(tool.params),
      timestamp: tool.at,
      durationMs: at - tool.at,
      status: "error",
      error: "the end of the tool call was not seen: it was blocked, or cut off",
    });
  }

  #tellTool(run, who, tool) {
    if (run) run.toolCalls++;
    this.tell(run, run ?? who, {
      kind: "tool_call",
      timestamp: tool.timestamp,
      durationMs: tool.durationMs,
      status: tool.status,
      error: tool.error,
      spanId: tool.toolCallId ? toolSpan(who.runId ?? run?.id, tool.toolCallId) : undefined,
      parentSpanId: run?.spanId,
      name: tool.name,
      input: tool.input,
      output: tool.output,
      attributes: {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.name,
        "gen_ai.tool.call.id": tool.toolCallId,
        "openclaw.tool.exit_code": tool.exitCode,
      },
    });
  }
}

/** The span of the tool call that a run is spawning a sub-agent with, else the run's own. */
export function spawnSpan(run) {
  for (const [toolCallId, tool] of [...run.tools].reverse()) {
    if (/spawn/i.test(tool.name ?? "")) return toolSpan(run.id, toolCallId);
  }
  return run.spanId;
}

function toolSpan(runId, toolCallId) {
  return spanId("tool_call", runId ?? "", toolCallId);
}
