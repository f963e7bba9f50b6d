// Model calls: held until the messages come that answer them, since only these have tokens and cost.

import { readUsage, spanId, usageAttributes } from "./events.js";
import { matchCalls } from "./matching.js";
import { laterInput } from "./prompts.js";
import { number, text } from "./values.js";

const MOST_CALLS = 500;

export class Calls {
  /**
   * @param {object} options
   * @param {import("./events.js").Content} options.content
   * @param {import("./held.js").Held} options.held
   * @param {Function} options.tell
   */
  constructor({ content, held, tell }) {
    this.content = content;
    this.held = held;
    this.tell = tell;
  }

  /** A call has begun. */
  begin(run, event, startedAt) {
    if (run.pending.length >= MOST_CALLS) this.#tellCall(run, run.pending.shift());
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

  /** A call has ended; its content and usage are still to come. */
  end(run, event, at) {
    const durationMs = number(event.durationMs);
    // The same id comes again in each try; the one that has not ended is meant.
    const call =
      run.pending.find((pending) => pending.callId === event.callId && pending.endedAt === undefined) ??
      (run.told.has(`${event.callId}/${run.attempts}`) ? undefined : this.begin(run, event, at - (durationMs ?? 0)));
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

  /** Tells all calls of a run that wait, each with its answer where there is one. */
  tellAll(run, messages, fresh, at) {
    const calls = run.pending;
    run.pending = [];
    const { matched, strays } = matchCalls(calls, fresh);
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
        input = laterInput(this.content, previous.call.spanId, messages.slice(previous.answer.index + 1, answer.index));
      }
      const last = index === order.length - 1;
      this.#tellCall(run, call, answer?.message, input, last && !answer ? spare : undefined);
      if (answer) previous = { call, answer };
    });
    if (order.length > 0) {
      this.held.release(run, run.nextInput);
      run.nextInput = undefined;
      if (spare) this.dropSpare(run);
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

  /**
   * A runner without model call hooks, or an end that brought no messages: one call with what the whole try used.
   */
  tellSpare(run) {
    const { spare } = run;
    if (!spare || run.calls > 0 || !spare.usage) return this.dropSpare(run);
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
    this.#tellCall(run, call, undefined, run.nextInput, spare);
    this.dropSpare(run);
  }

  dropSpare(run) {
    this.held.release(run, run.spare?.output);
    run.spare = undefined;
  }

  #tellCall(run, call, message, input, spare) {
    if (run.told.size > MOST_CALLS) run.told.clear();
    run.told.add(`${call.callId}/${call.attempt}`);
    // What the whole try used is one call's only where that was the only one.
    const usage = message ? readUsage(message.usage) : spare && run.calls === 1 ? spare.usage : undefined;
    if (usage) addUsage(run.usage, usage);
    const failed = call.outcome === "error" || message?.stopReason === "error" || message?.stopReason === "aborted";
    const ended = call.endedAt !== undefined || call.outcome !== undefined || message !== undefined;
    const errorType = text(message?.errorCode) ?? text(message?.errorType) ?? call.errorType ?? (failed ? stopText(message) : undefined);
    const reason = finishReason(message?.stopReason) ?? spare?.finishReason;
    this.tell(run, run, {
      kind: "llm_call",
      timestamp: call.startedAt,
      durationMs: call.durationMs,
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
}

// OpenTelemetry's words for why a model stopped, where they differ from OpenClaw's.
export function finishReason(stopReason) {
  return stopReason === "toolUse" ? "tool_call" : text(stopReason);
}

export function stopText(message) {
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
