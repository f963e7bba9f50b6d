// From hooks to runs: what belongs to a turn is gathered until it can be told as a whole.
//
// 1. A run is one, however often OpenClaw tries: each try fires `llm_input`, `agent_end` and
//    `llm_output` again under the same run id, and numbers its model calls from 1 again. So a run
//    ends some time after an `agent_end` that no further try has followed (`closeAfterMs`), or when
//    its session goes on to another run, or when the process stops.
// 2. Its model calls are told at `agent_end`, which brings their answers; where that never comes,
//    without usage when the run is closed.
// 3. What is held is bounded: runs, calls, bytes. What is too much is told early, not lost.

import { readUsage, spanId } from "./events.js";
import { Calls, finishReason, stopText } from "./calls.js";
import { Held } from "./held.js";
import { freshAnswers, markSeen } from "./matching.js";
import { answerText, firstInput } from "./prompts.js";
import { Tools } from "./tools.js";
import { number, remember, text } from "./values.js";

const LIMITS = {
  runs: 200,
  links: 500,
  closed: 500,
  closeAfterMs: 2_000, // a second try of a turn that ended well begins at once
  closeFailedAfterMs: 60_000, // a try after a failure waits up to 30 s
  idleMs: 10 * 60_000,
  busyMs: 6 * 3_600_000, // while a model or a tool is at work
  overtakenMs: 60_000, // a run without an end is over when its session has gone on for this long
};

export class Runs {
  /**
   * @param {object} options
   * @param {import("./events.js").Content} options.content
   * @param {number} options.maxHeldBytes
   * @param {Function} options.tell
   * @param {{failed: (runId: string) => void, close: (runId: string) => void}} options.out
   * @param {Partial<typeof LIMITS>} [options.limits]
   */
  constructor({ content, maxHeldBytes, tell, out, limits }) {
    this.content = content;
    this.tell = tell;
    this.out = out;
    this.limits = { ...LIMITS, ...limits };
    this.held = new Held(maxHeldBytes);
    this.calls = new Calls({ content, held: this.held, tell });
    this.tools = new Tools({ content, tell, runs: this });
    /** @type {Map<string, any>} by run id, oldest first */
    this.runs = new Map();
    this.closed = new Map(); // ids of runs that were told, with the number of their calls
    this.links = new Map(); // run id or session key of a sub-agent to what spawned it
  }

  llm_input(event, who, at) {
    if (!who.runId) return;
    this.closeEarlier(who, at);
    const run = this.of(who, at);
    run.attempts++;
    run.endedAt = undefined;
    run.provider = text(event.provider) ?? run.provider;
    run.model = text(event.model) ?? run.model;
    const history = Array.isArray(event.historyMessages) ? event.historyMessages : [];
    // The history of a second try holds what the first one answered, which may not be counted yet.
    if (run.attempts === 1) {
      for (const message of history) if (message?.role === "assistant") markSeen(run, message);
      this.onBegun?.(run);
    }
    run.input ??= this.held.hold(run, this.content.of(event.prompt));
    this.held.release(run, run.nextInput);
    run.nextInput = this.held.hold(run, firstInput(this.content, event, history));
    run.images = typeof event.imagesCount === "number" ? event.imagesCount : undefined;
    this.#bound();
  }

  model_call_started(event, who, at) {
    if (!who.runId) return;
    if (!this.runs.has(who.runId)) this.closeEarlier(who, at);
    this.calls.begin(this.of(who, at), event, at);
  }

  model_call_ended(event, who, at) {
    if (who.runId) this.calls.end(this.of(who, at), event, at);
  }

  agent_end(event, who, at) {
    if (!who.runId) return;
    const run = this.of(who, at);
    const messages = Array.isArray(event.messages) ? event.messages : [];
    const fresh = freshAnswers(run, messages);
    this.calls.tellAll(run, messages, fresh, at);

    const last = fresh.at(-1)?.message;
    // `success` only says that the try ran to its end: a refused model call ends in a message with stopReason "error".
    const failed = last?.stopReason === "error" || last?.stopReason === "aborted" || event.success === false || text(event.error) !== undefined;
    run.failed = failed;
    run.error = failed ? this.content.error(text(event.error) ?? text(last?.errorMessage) ?? stopText(last), text(last?.errorCode)) : undefined;
    run.errorType = failed ? (text(last?.errorCode) ?? text(last?.errorType) ?? (text(event.error) === undefined ? "aborted" : undefined)) : undefined;
    run.finishReason = last ? finishReason(last.stopReason) : run.finishReason;
    if (last && last.stopReason !== "error") {
      this.held.release(run, run.output);
      run.output = this.held.hold(run, this.content.of(answerText(last)));
    }
    run.endedAt = at;
    if (failed) this.out.failed(run.id);
    this.#bound();
  }

  llm_output(event, who, at) {
    if (!who.runId) return;
    // In the embedded runner this comes after `agent_end`, which has told it all.
    if (this.closed.has(who.runId)) return;
    const run = this.of(who, at);
    run.provider = text(event.provider) ?? run.provider;
    run.model = text(event.model) ?? run.model;
    run.harness = text(event.harnessId) ?? run.harness;
    run.reasoningEffort = text(event.reasoningEffort) ?? run.reasoningEffort;
    if (run.pending.length === 0 && run.calls > 0) return;
    this.held.release(run, run.spare?.output);
    const answer = event.lastAssistant ?? (Array.isArray(event.assistantTexts) ? { content: event.assistantTexts } : undefined);
    run.spare = {
      usage: readUsage(event.usage),
      responseId: text(event.lastAssistant?.responseId),
      finishReason: finishReason(event.lastAssistant?.stopReason),
      output: this.held.hold(run, answer && this.content.of({ role: "assistant", content: answer.content })),
      at,
    };
    this.#bound();
  }

  /** The run a hook is of; begun where it is not known. */
  of(who, at) {
    let run = this.runs.get(who.runId);
    if (!run) {
      run = {
        id: who.runId,
        spanId: spanId("run", who.runId),
        startedAt: at,
        attempts: 0,
        calls: this.closed.get(who.runId) ?? 0, // where a run goes on that was told already, its numbers do too
        toolCalls: 0,
        pending: [], // calls not yet told
        told: new Set(), // ids and tries of calls that were
        tools: new Map(),
        seen: new Set(), // assistant messages that were counted, or are of earlier turns
        usage: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, reasoning: undefined, cost: undefined },
        heldBytes: 0,
      };
      this.runs.set(run.id, run);
      if (this.runs.size > this.limits.runs) this.#close(this.runs.values().next().value, at);
    }
    run.lastAt = at;
    for (const key of ["sessionId", "sessionKey", "agentId", "traceId", "trigger", "channel", "jobId"]) run[key] ??= who[key];
    return run;
  }

  #due(run) {
    if (run.endedAt === undefined) {
      const isBusy = run.tools.size > 0 || run.pending.some((call) => call.endedAt === undefined);
      return run.lastAt + (isBusy ? this.limits.busyMs : this.limits.idleMs);
    }
    return run.endedAt + (run.failed ? this.limits.closeFailedAfterMs : this.limits.closeAfterMs);
  }

  /** A session works on one run at a time: with another one begun, those that ended are over for good. */
  closeEarlier(who, at) {
    for (const run of this.runs.values()) {
      const sameSession = who.sessionKey ? run.sessionKey === who.sessionKey : who.sessionId !== undefined && run.sessionId === who.sessionId;
      const isOver = run.endedAt !== undefined || at - run.lastAt > this.limits.overtakenMs;
      if (sameSession && run.id !== who.runId && isOver) this.#close(run, at);
    }
  }

  #close(run, at) {
    this.runs.delete(run.id);
    this.calls.tellAll(run, [], [], at);
    this.calls.tellSpare(run);
    for (const toolCallId of [...run.tools.keys()]) this.tools.tellLost(run, toolCallId, at);
    this.held.releaseAll(run);
    const again = this.closed.has(run.id);
    remember(this.closed, run.id, run.calls, this.limits.closed);
    // A try after the run was told adds its calls to the tree, but no second run.
    if (!again) this.#tellRun(run);
    this.out.close(run.id);
  }

  /** The newest open run of a session. */
  latestOf(sessionKey) {
    if (!sessionKey) return undefined;
    let found;
    for (const run of this.runs.values()) if (run.sessionKey === sessionKey) found = run;
    return found;
  }

  #tellRun(run) {
    const link = this.links.get(run.id) ?? (run.sessionKey ? this.links.get(run.sessionKey) : undefined);
    const ended = run.endedAt !== undefined;
    const endedAt = run.endedAt ?? run.lastAt;
    const { usage } = run;
    this.tell(run, run, {
      kind: "run",
      timestamp: run.startedAt,
      durationMs: Math.max(0, endedAt - run.startedAt),
      status: run.failed ? "error" : ended ? "ok" : undefined,
      error: run.error,
      spanId: run.spanId,
      parentSpanId: link?.parentSpanId,
      name: run.trigger ?? "run",
      input: run.input,
      output: run.output,
      attributes: {
        "gen_ai.operation.name": "invoke_agent",
        "openclaw.run.trigger": run.trigger,
        "openclaw.run.channel": run.channel,
        "openclaw.run.attempts": run.attempts,
        "openclaw.run.model_calls": run.calls,
        "openclaw.run.tool_calls": run.toolCalls,
        "openclaw.run.provider": run.provider,
        "openclaw.run.model": run.model,
        "openclaw.run.harness": run.harness,
        "openclaw.run.reasoning_effort": run.reasoningEffort,
        "openclaw.run.images": run.images || undefined,
        "openclaw.run.finish_reason": run.finishReason,
        "openclaw.run.end_seen": ended ? undefined : false,
        "openclaw.run.input_tokens": usage.input,
        "openclaw.run.output_tokens": usage.output,
        "openclaw.run.cache_read_input_tokens": usage.cacheRead,
        "openclaw.run.cache_creation_input_tokens": usage.cacheWrite,
        "openclaw.run.reasoning_output_tokens": usage.reasoning,
        "openclaw.run.cost_usd": usage.cost === undefined ? undefined : roundCost(usage.cost),
        "openclaw.run.parent_run_id": link?.parentRunId,
        "openclaw.run.parent_session_key": link?.requesterSessionKey,
        "openclaw.cron.job_id": run.jobId,
        "error.type": run.errorType,
      },
    });
    if (!run.failed) return;
    this.tell(run, run, {
      kind: "error",
      timestamp: endedAt,
      status: "error",
      error: run.error ?? "the run failed",
      parentSpanId: run.spanId,
      name: run.errorType ?? "run_failed",
      attributes: { "error.type": run.errorType, "openclaw.run.attempts": run.attempts },
    });
  }

  get(runId) {
    return this.runs.get(runId);
  }

  /** Remembers what spawned a sub-agent, under its run id or session key. */
  link(key, parent) {
    remember(this.links, key, parent, this.limits.links);
  }

  /** Closes what has been over for long enough. Returns the milliseconds until there is more to close, or Infinity. */
  sweep(now) {
    let next = Infinity;
    for (const run of this.runs.values()) {
      const due = this.#due(run);
      if (due <= now) this.#close(run, now);
      else next = Math.min(next, due - now);
    }
    return next;
  }

  closeAll(now) {
    for (const run of [...this.runs.values()]) this.#close(run, now);
  }

  #bound() {
    this.held.bound(this.runs.values(), (run) => [run.input, run.nextInput, run.output, run.spare?.output]);
  }
}

// Sums of binary fractions end in noise far below a millionth of a cent.
function roundCost(cost) {
  return Math.round(cost * 1e12) / 1e12;
}
