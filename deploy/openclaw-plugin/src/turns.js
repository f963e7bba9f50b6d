// From hooks to events: what belongs to a turn is gathered until it can be told as a whole.
//
// 1. A run is one, however often OpenClaw tries: each try fires `llm_input`, `agent_end` and
//    `llm_output` again under the same run id, and numbers its model calls from 1 again. So a run
//    ends some time after an `agent_end` that no further try has followed (`closeAfterMs`), or when
//    its session goes on to another run, or when the process stops.
// 2. A model call is held until `agent_end` brings the assistant messages: only they have tokens
//    and cost. They come with all earlier turns of the session; only those of this run count, each
//    once. Where the end never comes the calls are told without usage.
// 3. What is held is bounded: runs, calls, bytes. What is too much is told early, not lost.

import { boundedJson, byteLength } from "./json.js";
import { eventJson, readUsage, spanId, usageAttributes } from "./events.js";
import { matchCalls, messageKey } from "./matching.js";

const LIMITS = {
  runs: 200,
  callsOfRun: 500,
  toolsOfRun: 500,
  seenOfRun: 20_000,
  sessions: 500,
  children: 500,
  closedRuns: 500,
  closeAfterMs: 2_000, // a second try of a turn that ended well begins at once
  closeFailedAfterMs: 60_000, // a try after a failure waits up to 30 s
  idleMs: 30 * 60_000,
  historyBytes: 48 << 10, // with its texts cut, such an input stays a structure in the sidecar's default limits
};

/** Hooks whose events the turns are made of. */
export const HOOKS = [
  "llm_input",
  "llm_output",
  "model_call_started",
  "model_call_ended",
  "agent_end",
  "before_tool_call",
  "after_tool_call",
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

export class Turns {
  /**
   * @param {object} options
   * @param {import("./events.js").Content} options.content
   * @param {number} options.maxHeldBytes
   * @param {{emit: (runId: string | undefined, json: string) => void, failed: (runId: string) => void, close: (runId: string) => void}} options.out
   * @param {Partial<typeof LIMITS>} [options.limits]
   */
  constructor(options) {
    this.content = options.content;
    this.maxHeldBytes = options.maxHeldBytes;
    this.out = options.out;
    this.limits = { ...LIMITS, ...options.limits };
    /** @type {Map<string, any>} by run id, oldest first */
    this.runs = new Map();
    this.closedRuns = new Map();
    this.sessions = new Map(); // session key to {sessionId, agentId, runId}
    this.children = new Map(); // run id or session key of a sub-agent to what spawned it
    this.compactions = new Map(); // session key to the start of a compaction
    this.heldBytes = 0;
  }

  /** @param {{hook: string, event: any, ctx: any, at: number}} record a hook as it was fired */
  take({ hook, event, ctx, at }) {
    const handler = this[hook];
    if (typeof handler !== "function") return;
    const body = event !== null && typeof event === "object" ? event : {};
    handler.call(this, body, this.#identity(body, ctx !== null && typeof ctx === "object" ? ctx : {}), at);
  }

  /** Closes what has been over for long enough. Returns the milliseconds until there is more to close, or undefined. */
  sweep(now) {
    let next = Infinity;
    for (const run of this.runs.values()) {
      const due = this.#due(run);
      if (due <= now) this.#close(run, now);
      else next = Math.min(next, due - now);
    }
    for (const [key, start] of this.compactions) {
      const due = start.at + this.limits.idleMs;
      if (due <= now) this.#compactionLost(key, start, now);
      else next = Math.min(next, due - now);
    }
    return next === Infinity ? undefined : next;
  }

  /** Tells everything that is held: nothing more will come. */
  closeAll(now) {
    for (const run of [...this.runs.values()]) this.#close(run, now);
    for (const [key, start] of [...this.compactions]) this.#compactionLost(key, start, now);
  }

  // ---- model calls -------------------------------------------------------------------------------

  llm_input(event, who, at) {
    if (!who.runId) return;
    this.#closeEarlierRuns(who, at);
    const run = this.#run(who, at);
    run.attempts++;
    run.endedAt = undefined;
    run.provider = text(event.provider) ?? run.provider;
    run.model = text(event.model) ?? run.model;
    const history = Array.isArray(event.historyMessages) ? event.historyMessages : [];
    for (const message of history) if (message?.role === "assistant") this.#markSeen(run, message);
    run.input ??= this.#hold(run, this.content.of(event.prompt));
    this.#release(run, run.nextInput);
    run.nextInput = this.#hold(run, this.#promptContent(event, history));
    run.images = typeof event.imagesCount === "number" ? event.imagesCount : undefined;
    this.#boundHeld();
  }

  model_call_started(event, who, at) {
    if (!who.runId) return;
    this.#newCall(this.#run(who, at), event, at);
  }

  model_call_ended(event, who, at) {
    if (!who.runId) return;
    const run = this.#run(who, at);
    const durationMs = number(event.durationMs);
    // The same id comes again in each try; the one that has not ended is meant.
    const call =
      run.pending.find((pending) => pending.callId === event.callId && pending.endedAt === undefined) ??
      (run.told.has(`${event.callId}/${run.attempts}`) ? undefined : this.#newCall(run, event, at - (durationMs ?? 0)));
    if (!call) return;
    call.endedAt = at;
    call.durationMs = durationMs ?? at - call.startedAt;
    call.outcome = text(event.outcome);
    call.attributes = {
      "openclaw.model_call.time_to_first_byte_ms": number(event.timeToFirstByteMs),
      "openclaw.model_call.request_bytes": number(event.requestPayloadBytes),
      "openclaw.model_call.response_bytes": number(event.responseStreamBytes),
      "openclaw.model_call.error_category": text(event.errorCategory),
      "openclaw.model_call.failure_kind": text(event.failureKind),
      "openclaw.model_call.upstream_request_id_hash": text(event.upstreamRequestIdHash),
    };
    call.errorType = text(event.failureKind) ?? text(event.errorCategory);
  }

  agent_end(event, who, at) {
    if (!who.runId) return;
    const run = this.#run(who, at);
    const messages = Array.isArray(event.messages) ? event.messages : [];
    const fresh = this.#freshAnswers(run, messages);
    this.#tellCalls(run, messages, fresh, at);

    const last = fresh.at(-1)?.message;
    // `success` only says that the try ran to its end: a refused model call ends in a message with stopReason "error".
    const failed = last?.stopReason === "error" || last?.stopReason === "aborted" || event.success === false || text(event.error) !== undefined;
    run.failed = failed;
    run.error = failed ? this.content.error(text(event.error) ?? text(last?.errorMessage) ?? stopText(last), text(last?.errorCode)) : undefined;
    run.errorType = failed ? (text(last?.errorCode) ?? text(last?.errorType) ?? (last?.stopReason === "aborted" || event.success === false ? "aborted" : undefined)) : undefined;
    run.finishReason = last ? finishReason(last.stopReason) : run.finishReason;
    if (last && last.stopReason !== "error") {
      this.#release(run, run.output);
      run.output = this.#hold(run, this.content.of(answerText(last)));
    }
    run.endedAt = at;
    if (failed) this.out.failed(run.id);
    this.#boundHeld();
  }

  llm_output(event, who, at) {
    if (!who.runId) return;
    // In the embedded runner this comes after `agent_end`, which has told it all.
    if (this.closedRuns.has(who.runId)) return;
    const run = this.#run(who, at);
    run.provider = text(event.provider) ?? run.provider;
    run.model = text(event.model) ?? run.model;
    run.harness = text(event.harnessId) ?? run.harness;
    run.reasoningEffort = text(event.reasoningEffort) ?? run.reasoningEffort;
    if (run.pending.length === 0 && run.calls > 0) return;
    this.#release(run, run.spare?.output);
    const answer = event.lastAssistant ?? (Array.isArray(event.assistantTexts) ? { content: event.assistantTexts } : undefined);
    run.spare = {
      usage: readUsage(event.usage),
      responseId: text(event.lastAssistant?.responseId),
      finishReason: finishReason(event.lastAssistant?.stopReason),
      output: this.#hold(run, answer && this.content.of({ role: "assistant", content: answer.content })),
      at,
    };
    this.#boundHeld();
  }

  // ---- tool calls --------------------------------------------------------------------------------

  before_tool_call(event, who, at) {
    if (!who.runId || !text(event.toolCallId)) return;
    const run = this.#run(who, at);
    if (run.tools.size >= this.limits.toolsOfRun) this.#tellLostTool(run, run.tools.keys().next().value, at);
    // Held by reference: the parameters live as long as the tool runs anyway, and are needed only if its end never comes.
    run.tools.set(event.toolCallId, { name: text(event.toolName), params: event.params, at });
  }

  after_tool_call(event, who, at) {
    const run = who.runId ? this.#run(who, at) : undefined;
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

  // ---- messages, sessions, compaction ------------------------------------------------------------

  message_received(event, who, at) {
    this.#tellMessage("received", event, who, at, { input: this.content.of(event.content) });
  }

  message_sending(event, who, at) {
    this.#tellMessage("sending", event, who, at, { output: this.content.of(event.content) });
  }

  message_sent(event, who, at) {
    const failed = event.success === false;
    this.#tellMessage("sent", event, who, at, {
      output: this.content.of(event.content),
      status: failed ? "error" : "ok",
      error: failed ? this.content.error(text(event.error) ?? "the message was not delivered") : undefined,
    });
  }

  session_start(event, who, at) {
    this.#tellSession("start", event, who, at, { "openclaw.session.resumed_from": text(event.resumedFrom) });
  }

  session_end(event, who, at) {
    this.#closeEarlierRuns(who, at);
    this.#tellSession("end", event, who, at, {
      "openclaw.session.reason": text(event.reason),
      "openclaw.session.message_count": number(event.messageCount),
      "openclaw.session.next_session_id": text(event.nextSessionId),
    });
    if (who.sessionKey) this.sessions.delete(who.sessionKey);
  }

  before_compaction(event, who, at) {
    const key = who.sessionKey ?? who.sessionId ?? "";
    const earlier = this.compactions.get(key);
    if (earlier) this.#compactionLost(key, earlier, at);
    this.compactions.set(key, { at, who, messageCount: number(event.messageCount), tokenCount: number(event.tokenCount) });
    if (this.compactions.size > this.limits.sessions) this.#compactionLost(...this.compactions.entries().next().value, at);
  }

  after_compaction(event, who, at) {
    const key = who.sessionKey ?? who.sessionId ?? "";
    const start = this.compactions.get(key);
    this.compactions.delete(key);
    this.#tellCompaction(who, start, at, "ok", undefined, {
      "openclaw.compaction.messages_after": number(event.messageCount),
      "openclaw.compaction.tokens_after": number(event.tokenCount),
      "openclaw.compaction.compacted_count": number(event.compactedCount),
      "openclaw.compaction.previous_session_id": text(event.previousSessionId),
    });
  }

  // ---- sub-agents, cron, gateway -----------------------------------------------------------------

  subagent_spawned(event, who, at) {
    const parent = this.#requester(who.requesterSessionKey);
    const link = { parentRunId: parent?.id, parentSpanId: parent && spawnSpan(parent), requesterSessionKey: who.requesterSessionKey };
    for (const key of [text(event.runId), text(event.childSessionKey)]) {
      if (key) remember(this.children, key, link, this.limits.children);
    }
    this.#tellSubagent("spawned", event, who, at, {
      attributes: {
        "openclaw.subagent.label": text(event.label),
        "openclaw.subagent.mode": text(event.mode),
        "gen_ai.request.model": text(event.resolvedModel),
        "gen_ai.provider.name": text(event.resolvedProvider),
      },
    });
  }

  subagent_progress(event, who, at) {
    this.#tellSubagent(`progress.${text(event.phase) ?? "unknown"}`, event, who, at, subagentOutcome(event, this.content));
  }

  subagent_ended(event, who, at) {
    this.#tellSubagent("ended", event, who, number(event.endedAt) ?? at, subagentOutcome(event, this.content));
  }

  cron_changed(event, who, at) {
    const job = event.job ?? {};
    const failed = event.status === "error" || event.completionStatus === "failed";
    const finished = event.action === "finished";
    const durationMs = number(event.durationMs);
    this.#tell(undefined, who, {
      kind: "cron",
      timestamp: number(event.runAtMs) ?? (durationMs === undefined ? at : at - durationMs),
      durationMs,
      status: failed ? "error" : finished ? "ok" : undefined,
      error: failed ? this.content.error(text(event.error) ?? "the job failed") : undefined,
      runId: text(event.runId),
      agentId: text(event.agentId) ?? text(job.agentId),
      name: text(job.name) ?? text(event.jobId),
      input: this.content.of(job.payload),
      output: this.content.of(event.summary),
      attributes: {
        "openclaw.cron.action": text(event.action),
        "openclaw.cron.job_id": text(event.jobId) ?? text(job.id),
        "openclaw.cron.status": text(event.status),
        "openclaw.cron.session_target": text(event.sessionTarget),
        "openclaw.cron.next_run_at_ms": number(event.nextRunAtMs),
        "openclaw.cron.delivery_status": text(event.deliveryStatus),
        "gen_ai.request.model": text(event.model),
        "gen_ai.provider.name": text(event.provider),
      },
    });
  }

  gateway_start(event, who, at) {
    this.#tell(undefined, who, { kind: "gateway", timestamp: at, name: "start", attributes: { "openclaw.gateway.event": "start", "server.port": number(event.port) } });
  }

  gateway_stop(event, who, at) {
    this.closeAll(at);
    this.#tell(undefined, who, { kind: "gateway", timestamp: at, name: "stop", attributes: { "openclaw.gateway.event": "stop", "openclaw.gateway.reason": text(event.reason) } });
  }

  // ---- who and which run -------------------------------------------------------------------------

  #identity(event, ctx) {
    const sessionKey = text(ctx.sessionKey) ?? text(event.sessionKey);
    const known = sessionKey ? this.sessions.get(sessionKey) : undefined;
    const sessionId = text(ctx.sessionId) ?? text(event.sessionId) ?? known?.sessionId;
    const agentId = text(ctx.agentId) ?? known?.agentId ?? agentOf(sessionKey);
    const runId = text(event.runId) ?? text(ctx.runId);
    if (sessionKey && sessionId) {
      remember(this.sessions, sessionKey, { sessionId, agentId, runId: runId ?? known?.runId }, this.limits.sessions);
    }
    return {
      runId,
      sessionKey,
      sessionId,
      agentId,
      lastRunId: known?.runId,
      traceId: text(ctx.trace?.traceId),
      trigger: text(ctx.trigger),
      channel: text(ctx.channel) ?? text(ctx.messageProvider),
      channelId: text(ctx.channelId),
      jobId: text(ctx.jobId),
      requesterSessionKey: text(ctx.requesterSessionKey),
    };
  }

  #run(who, at) {
    let run = this.runs.get(who.runId);
    if (!run) {
      run = {
        id: who.runId,
        spanId: spanId("run", who.runId),
        startedAt: at,
        attempts: 0,
        calls: 0,
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
    if (run.endedAt === undefined) return run.lastAt + this.limits.idleMs;
    return run.endedAt + (run.failed ? this.limits.closeFailedAfterMs : this.limits.closeAfterMs);
  }

  /** A session works on one run at a time: with another one begun, those that ended are over for good. */
  #closeEarlierRuns(who, at) {
    for (const run of this.runs.values()) {
      const sameSession = who.sessionKey ? run.sessionKey === who.sessionKey : who.sessionId !== undefined && run.sessionId === who.sessionId;
      if (sameSession && run.id !== who.runId && run.endedAt !== undefined) this.#close(run, at);
    }
  }

  #close(run, at) {
    this.runs.delete(run.id);
    this.#tellCalls(run, [], [], at);
    this.#tellSpareCall(run);
    for (const toolCallId of [...run.tools.keys()]) this.#tellLostTool(run, toolCallId, at);
    this.heldBytes -= run.heldBytes;
    const again = this.closedRuns.has(run.id);
    remember(this.closedRuns, run.id, true, this.limits.closedRuns);
    // A try after the run was told adds its calls to the tree, but no second run.
    if (!again && (run.attempts > 0 || run.calls > 0 || run.endedAt !== undefined)) this.#tellRun(run, at);
    this.out.close(run.id);
  }

  #requester(sessionKey) {
    if (!sessionKey) return undefined;
    let found;
    for (const run of this.runs.values()) if (run.sessionKey === sessionKey) found = run;
    return found;
  }

  // ---- which messages, which calls ---------------------------------------------------------------

  #newCall(run, event, startedAt) {
    if (run.pending.length >= this.limits.callsOfRun) this.#tellCall(run, run.pending.shift(), undefined, undefined, startedAt);
    run.calls++;
    run.endedAt = undefined;
    run.provider = text(event.provider) ?? run.provider;
    run.model = text(event.model) ?? run.model;
    const call = {
      callId: text(event.callId),
      // Call ids repeat from try to try; the place in the run does not.
      spanId: spanId("model_call", run.id, run.calls),
      attempt: run.attempts,
      startedAt,
      provider: text(event.provider),
      model: text(event.model),
      api: text(event.api),
      attributes: {},
    };
    run.pending.push(call);
    return call;
  }

  /** Assistant messages of this run that were not counted yet, in order. */
  #freshAnswers(run, messages) {
    let lastUser = -1;
    messages.forEach((message, index) => {
      if (message?.role === "user") lastUser = index;
    });
    const fresh = [];
    messages.forEach((message, index) => {
      if (message?.role !== "assistant") return;
      const owner = text(message.__openclaw?.runId);
      if (owner !== undefined && owner !== run.id) return;
      const timestamp = number(message.timestamp);
      // Without a time there is only the place to go by.
      if (timestamp === undefined ? index < lastUser : timestamp < run.startedAt - 1_000) return;
      if (!this.#markSeen(run, message)) return;
      fresh.push({ message, index, timestamp });
    });
    return fresh;
  }

  /** False when the message was seen before. */
  #markSeen(run, message) {
    const key = messageKey(message);
    if (key === "/") return true;
    if (run.seen.has(key)) return false;
    if (run.seen.size < this.limits.seenOfRun) run.seen.add(key);
    return true;
  }

  #tellCalls(run, messages, fresh, at) {
    const calls = run.pending;
    run.pending = [];
    const { matched, strays } = matchCalls(calls, fresh);
    const answerOf = new Map([...matched].map(([call, answer]) => [answer, call]));
    const spare = fresh.length === 0 ? run.spare : undefined;
    let previous;
    const order = [
      ...calls.map((call) => ({ call, answer: matched.get(call), at: call.startedAt })),
      // A message without a call still cost its tokens.
      ...strays.filter(({ message }) => readUsage(message.usage)).map((answer) => ({ call: this.#strayCall(run, answer, at), answer, at: answer.timestamp ?? at })),
    ].sort((a, b) => a.at - b.at);
    order.forEach(({ call, answer }, index) => {
      let input;
      if (index === 0) {
        input = run.nextInput;
      } else if (answer && previous !== undefined) {
        input = this.content.of({ follows: previous.call.spanId, messages: messages.slice(previous.answer.index + 1, answer.index).map(slimMessage) });
      }
      const last = index === order.length - 1;
      this.#tellCall(run, call, answer?.message, input, at, last && !answer ? spare : undefined);
      if (answer) previous = { call, answer };
    });
    if (order.length > 0) {
      this.#release(run, run.nextInput);
      run.nextInput = undefined;
      if (spare) this.#dropSpare(run);
    }
  }

  #strayCall(run, answer, at) {
    run.calls++;
    const { message } = answer;
    return {
      spanId: spanId("model_call", run.id, run.calls),
      attempt: run.attempts,
      startedAt: answer.timestamp ?? at,
      provider: text(message.provider),
      model: text(message.model),
      api: text(message.api),
      outcome: "completed",
      attributes: { "openclaw.model_call.timing": "unknown" },
    };
  }

  // A runner without model call hooks, or an end that brought no messages: one call with what the whole try used.
  #tellSpareCall(run) {
    const { spare } = run;
    if (!spare || run.calls > 0 || !spare.usage) return this.#dropSpare(run);
    run.calls++;
    const call = {
      spanId: spanId("model_call", run.id, run.calls),
      attempt: run.attempts,
      startedAt: run.startedAt,
      durationMs: spare.at - run.startedAt,
      provider: run.provider,
      model: run.model,
      outcome: "completed",
      attributes: { "openclaw.model_call.covers": "turn" },
    };
    this.#tellCall(run, call, undefined, run.nextInput, spare.at, spare);
    this.#dropSpare(run);
  }

  #dropSpare(run) {
    this.#release(run, run.spare?.output);
    run.spare = undefined;
  }

  // ---- telling -----------------------------------------------------------------------------------

  #tellCall(run, call, message, input, at, spare) {
    run.told.add(`${call.callId}/${call.attempt}`);
    // What the whole try used is one call's only where that was the only one.
    const usage = message ? readUsage(message.usage) : spare && run.calls === 1 ? spare.usage : undefined;
    if (usage) addUsage(run.usage, usage);
    const failed = call.outcome === "error" || message?.stopReason === "error" || message?.stopReason === "aborted";
    const ended = call.endedAt !== undefined || call.outcome !== undefined || message !== undefined;
    const errorType = text(message?.errorCode) ?? text(message?.errorType) ?? call.errorType ?? (failed ? stopText(message) : undefined);
    const reason = finishReason(message?.stopReason) ?? spare?.finishReason;
    this.#tell(run, run, {
      kind: "llm_call",
      timestamp: call.startedAt,
      durationMs: call.durationMs ?? (call.endedAt === undefined && !message ? undefined : call.startedAt < at && call.callId ? at - call.startedAt : undefined),
      status: failed ? "error" : ended ? "ok" : undefined,
      error: failed ? this.content.error(text(message?.errorMessage) ?? errorType ?? "the model call failed", errorType) : undefined,
      spanId: call.spanId,
      parentSpanId: run.spanId,
      name: call.model ?? text(message?.model) ?? run.model,
      input,
      output: message ? this.content.of({ role: "assistant", content: message.content }) : spare?.output,
      attributes: {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider ?? text(message?.provider) ?? run.provider,
        "gen_ai.request.model": call.model ?? run.model,
        "gen_ai.response.model": text(message?.model),
        "gen_ai.response.id": text(message?.responseId) ?? spare?.responseId,
        "gen_ai.response.finish_reasons": reason ? [reason] : undefined,
        ...usageAttributes(usage),
        "error.type": failed ? errorType : undefined,
        "openclaw.model_call.id": call.callId,
        "openclaw.model_call.attempt": call.attempt || undefined,
        "openclaw.model_call.api": call.api,
        ...call.attributes,
      },
    });
  }

  #tellTool(run, who, tool) {
    if (run) run.toolCalls++;
    this.#tell(run, run ?? who, {
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

  #tellLostTool(run, toolCallId, at) {
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

  #tellRun(run, at) {
    const link = this.children.get(run.id) ?? (run.sessionKey ? this.children.get(run.sessionKey) : undefined);
    const ended = run.endedAt !== undefined;
    const endedAt = run.endedAt ?? run.lastAt;
    const { usage } = run;
    this.#tell(run, run, {
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
    this.#tell(run, run, {
      kind: "error",
      timestamp: endedAt,
      status: "error",
      error: run.error ?? "the run failed",
      parentSpanId: run.spanId,
      name: run.errorType ?? "run_failed",
      attributes: { "error.type": run.errorType, "openclaw.run.attempts": run.attempts },
    });
  }

  #tellMessage(direction, event, who, at, fields) {
    const channel = text(event.metadata?.channel) ?? text(event.metadata?.originatingChannel) ?? text(event.metadata?.provider) ?? who.channelId;
    // What goes out names its session but not its run; the session's last run is the one that wrote it.
    const runId = who.runId ?? (direction === "received" ? undefined : who.lastRunId);
    this.#tell(this.runs.get(runId), { ...who, runId }, {
      kind: "message",
      timestamp: (direction === "received" ? number(event.timestamp) : undefined) ?? at,
      parentSpanId: runId ? spanId("run", runId) : undefined,
      name: channel,
      ...fields,
      attributes: {
        "openclaw.message.direction": direction,
        "openclaw.message.id": text(event.messageId),
        "openclaw.message.from": text(event.from),
        "openclaw.message.to": text(event.to),
        "openclaw.message.sender_id": text(event.senderId),
        "openclaw.message.reply_to_id": text(event.replyToId),
        "openclaw.message.channel": channel,
      },
    });
  }

  #tellSession(what, event, who, at, attributes) {
    const durationMs = number(event.durationMs);
    this.#tell(undefined, { ...who, runId: undefined }, {
      kind: "session",
      timestamp: at,
      durationMs,
      name: what,
      attributes: { "openclaw.session.event": what, ...attributes },
    });
  }

  #compactionLost(key, start, at) {
    this.compactions.delete(key);
    this.#tellCompaction(start.who, start, at, "error", "the end of the compaction was not seen", {});
  }

  #tellCompaction(who, start, at, status, error, attributes) {
    this.#tell(who.runId ? this.runs.get(who.runId) : undefined, who, {
      kind: "compaction",
      timestamp: start?.at ?? at,
      durationMs: start ? at - start.at : undefined,
      status,
      error,
      parentSpanId: who.runId ? spanId("run", who.runId) : undefined,
      name: "compaction",
      attributes: {
        "openclaw.compaction.messages_before": start?.messageCount,
        "openclaw.compaction.tokens_before": start?.tokenCount,
        ...attributes,
      },
    });
  }

  #tellSubagent(what, event, who, at, fields) {
    const childSessionKey = text(event.childSessionKey) ?? text(event.targetSessionKey) ?? who.sessionKey;
    const link = (who.runId && this.children.get(who.runId)) || (childSessionKey && this.children.get(childSessionKey)) || undefined;
    this.#tell(undefined, { ...who, agentId: text(event.agentId) ?? who.agentId ?? agentOf(childSessionKey) }, {
      kind: "subagent",
      timestamp: at,
      parentSpanId: who.runId ? spanId("run", who.runId) : undefined,
      name: text(event.agentId) ?? agentOf(childSessionKey) ?? "subagent",
      ...fields,
      attributes: {
        "openclaw.subagent.event": what,
        "openclaw.subagent.session_key": childSessionKey,
        "openclaw.subagent.kind": text(event.targetKind),
        "openclaw.run.parent_run_id": link?.parentRunId,
        "openclaw.run.parent_session_key": who.requesterSessionKey ?? link?.requesterSessionKey,
        ...fields.attributes,
      },
    });
  }

  #tell(run, who, fields) {
    const runId = fields.runId ?? run?.id ?? who.runId;
    const attributes = { "openclaw.session_key": who.sessionKey, "otel.trace_id": who.traceId ?? run?.traceId, ...fields.attributes };
    this.out.emit(runId, eventJson({ sessionId: who.sessionId, agentId: who.agentId, ...fields, runId, attributes }));
    if (fields.status === "error" && runId) this.out.failed(runId);
  }

  // ---- content and its bound ---------------------------------------------------------------------

  /** What the first call of a try got. The prompt first: what a receiver cuts is cut at the end. */
  #promptContent(event, history) {
    const room = Math.min(this.limits.historyBytes, this.content.maxBytes);
    const kept = [];
    let bytes = 0;
    for (let index = history.length - 1; index >= 0; index--) {
      const { json } = boundedJson(slimMessage(history[index]), room);
      bytes += byteLength(json) + 1;
      if (bytes > room) break;
      kept.unshift(json);
    }
    const prompt = boundedJson({ prompt: event.prompt, system_prompt: event.systemPrompt }, this.content.maxBytes);
    const leftOut = history.length - kept.length;
    const json = `${prompt.json.slice(0, -1)}${prompt.json === "{}" ? "" : ","}"messages_left_out":${leftOut},"messages":[${kept.join(",")}]}`;
    const size = byteLength(json);
    return this.content.keep ? { json, bytes: size, truncated: prompt.truncated || leftOut > 0 } : { bytes: size, truncated: prompt.truncated || leftOut > 0 };
  }

  #hold(run, content) {
    const bytes = content?.json === undefined ? 0 : content.bytes;
    run.heldBytes += bytes;
    this.heldBytes += bytes;
    return content;
  }

  #release(run, content) {
    this.#hold(run, content && { json: content.json, bytes: -content.bytes });
  }

  #boundHeld() {
    for (const run of this.runs.values()) {
      if (this.heldBytes <= this.maxHeldBytes) return;
      for (const content of [run.input, run.nextInput, run.output, run.spare?.output]) {
        if (content?.json === undefined) continue;
        this.#release(run, content);
        // The size stays and says that there was something.
        content.json = undefined;
        content.truncated = true;
      }
    }
  }
}

function subagentOutcome(event, content) {
  const outcome = text(event.outcome);
  const failed = outcome === "error" || outcome === "timeout" || outcome === "killed";
  return {
    status: failed ? "error" : outcome === "ok" ? "ok" : undefined,
    error: failed ? content.error(text(event.error) ?? outcome, outcome) : undefined,
    attributes: { "openclaw.subagent.outcome": outcome, "openclaw.subagent.reason": text(event.reason) },
  };
}

function spawnSpan(run) {
  for (const [toolCallId, tool] of [...run.tools].reverse()) {
    if (/spawn/i.test(tool.name ?? "")) return toolSpan(run.id, toolCallId);
  }
  return run.spanId;
}

function toolSpan(runId, toolCallId) {
  return spanId("tool_call", runId ?? "", toolCallId);
}

function slimMessage(message) {
  if (message === null || typeof message !== "object") return message;
  const { role, content, toolCallId, toolName, isError } = message;
  return { role, content, toolCallId, toolName, isError };
}

function answerText(message) {
  const { content } = message;
  if (!Array.isArray(content)) return content;
  const texts = content.filter((part) => part?.type === "text" && typeof part.text === "string").map((part) => part.text);
  return texts.length > 0 ? texts.join("\n") : undefined;
}

// OpenTelemetry's words for why a model stopped, where they differ from OpenClaw's.
function finishReason(stopReason) {
  return stopReason === "toolUse" ? "tool_call" : text(stopReason);
}

function stopText(message) {
  return message?.stopReason === "aborted" ? "aborted" : undefined;
}

function addUsage(total, usage) {
  total.input += usage.input;
  total.output += usage.output;
  total.cacheRead += usage.cacheRead;
  total.cacheWrite += usage.cacheWrite;
  if (usage.reasoning !== undefined) total.reasoning = (total.reasoning ?? 0) + usage.reasoning;
  if (usage.cost !== undefined) total.cost = (total.cost ?? 0) + usage.cost;
}

// Sums of binary fractions end in noise far below a millionth of a cent.
function roundCost(cost) {
  return Math.round(cost * 1e12) / 1e12;
}

function agentOf(sessionKey) {
  return typeof sessionKey === "string" && sessionKey.startsWith("agent:") ? sessionKey.split(":")[1] || undefined : undefined;
}

function remember(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
}

function text(value) {
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  return typeof value === "string" && value !== "" ? value : undefined;
}

function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
