// What stands alone: messages, sessions, compactions, sub-agents, cron jobs, the gateway.
//
// Each hook is an event. Two wait: a compaction for its end, and a message that came in for the run
// that answers it, since it names neither run nor session id.

import { spanId } from "./events.js";
import { agentOf } from "./sessions.js";
import { spawnSpan } from "./tools.js";
import { number, text } from "./values.js";

const MOST_RECEIVED = 100;
const RECEIVED_WAIT_MS = 10_000;
const MOST_COMPACTIONS = 100;
const COMPACTION_IDLE_MS = 30 * 60_000;

export class Happenings {
  /**
   * @param {object} options
   * @param {import("./events.js").Content} options.content
   * @param {Function} options.tell
   * @param {import("./runs.js").Runs} options.runs
   * @param {import("./sessions.js").Sessions} options.sessions
   */
  constructor({ content, tell, runs, sessions }) {
    this.content = content;
    this.tell = tell;
    this.runs = runs;
    this.sessions = sessions;
    this.compactions = new Map(); // session key to the start of a compaction
    this.received = []; // messages whose run has not begun
  }

  message_received(event, who, at) {
    const tell = (run) => {
      const known = run ? { ...who, runId: run.id, sessionId: run.sessionId, agentId: run.agentId, traceId: run.traceId } : who;
      this.#tellMessage("received", event, known, at, { input });
    };
    const input = this.content.of(event.content);
    if (who.runId || !who.sessionKey) return tell();
    if (this.received.length >= MOST_RECEIVED) this.received.shift().tell();
    this.received.push({ sessionKey: who.sessionKey, at, tell });
  }

  /** A run has begun: what its session had received is what it answers. */
  begun(run) {
    this.#tellReceived((message) => message.sessionKey === run.sessionKey, run);
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
    this.runs.closeEarlier(who, at);
    this.#tellSession("end", event, who, at, {
      "openclaw.session.reason": text(event.reason),
      "openclaw.session.message_count": number(event.messageCount),
      "openclaw.session.next_session_id": text(event.nextSessionId),
    });
    if (who.sessionKey) this.sessions.forget(who.sessionKey);
  }

  before_compaction(event, who, at) {
    const key = who.sessionKey ?? who.sessionId ?? "";
    const earlier = this.compactions.get(key);
    if (earlier) this.#compactionLost(key, earlier, at);
    this.compactions.set(key, { at, who, messageCount: number(event.messageCount), tokenCount: number(event.tokenCount) });
    if (this.compactions.size > MOST_COMPACTIONS) this.#compactionLost(...this.compactions.entries().next().value, at);
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

  subagent_spawned(event, who, at) {
    const parent = this.runs.latestOf(who.requesterSessionKey);
    const link = { parentRunId: parent?.id, parentSpanId: parent && spawnSpan(parent), requesterSessionKey: who.requesterSessionKey };
    for (const key of [text(event.runId), text(event.childSessionKey)]) {
      if (key) this.runs.link(key, link);
    }
    this.#tellSubagent("spawned", event, who, at, {
      attributes: {
        "openclaw.subagent.label": text(event.label),
        "openclaw.subagent.mode": text(event.mode),
        "openclaw.subagent.model": text(event.resolvedModel),
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
    this.tell(undefined, who, {
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
        "openclaw.cron.model": text(event.model),
      },
    });
  }

  gateway_start(event, who, at) {
    this.tell(undefined, who, { kind: "gateway", timestamp: at, name: "start", attributes: { "openclaw.gateway.event": "start", "server.port": number(event.port) } });
  }

  gateway_stop(event, who, at) {
    this.runs.closeAll(at);
    this.closeAll(at);
    this.tell(undefined, who, { kind: "gateway", timestamp: at, name: "stop", attributes: { "openclaw.gateway.event": "stop", "openclaw.gateway.reason": text(event.reason) } });
  }

  #tellMessage(direction, event, who, at, fields) {
    const channel = text(event.metadata?.channel) ?? text(event.metadata?.originatingChannel) ?? text(event.metadata?.provider) ?? who.channelId;
    // What goes out names its session but not its run; the session's last run is the one that wrote it.
    const runId = who.runId ?? (direction === "received" ? undefined : who.lastRunId);
    this.tell(this.runs.get(runId), { ...who, runId }, {
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

  #tellReceived(chosen, run) {
    const told = this.received.filter(chosen);
    if (told.length === 0) return;
    this.received = this.received.filter((message) => !told.includes(message));
    for (const message of told) message.tell(run);
  }

  #tellSession(what, event, who, at, attributes) {
    const durationMs = number(event.durationMs);
    this.tell(undefined, { ...who, runId: undefined }, {
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
    this.tell(who.runId ? this.runs.get(who.runId) : undefined, who, {
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
    const link = (who.runId && this.runs.links.get(who.runId)) || (childSessionKey && this.runs.links.get(childSessionKey)) || undefined;
    const child = {
      ...who,
      sessionId: who.sessionId ?? this.sessions.idOf(childSessionKey),
      agentId: text(event.agentId) ?? who.agentId ?? agentOf(childSessionKey),
    };
    this.tell(undefined, child, {
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

  /** Tells what nothing is to be expected for any more. Returns the milliseconds until the next, or Infinity. */
  sweep(now) {
    let next = Infinity;
    this.#tellReceived((message) => message.at + RECEIVED_WAIT_MS <= now);
    for (const { at } of this.received) next = Math.min(next, at + RECEIVED_WAIT_MS - now);
    for (const [key, start] of this.compactions) {
      const due = start.at + COMPACTION_IDLE_MS;
      if (due <= now) this.#compactionLost(key, start, now);
      else next = Math.min(next, due - now);
    }
    return next;
  }

  closeAll(now) {
    this.#tellReceived(() => true);
    for (const [key, start] of [...this.compactions]) this.#compactionLost(key, start, now);
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
