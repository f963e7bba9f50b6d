// Who a hook is about: run, session, agent.
//
// Each hook names some of them. Model calls name no agent, messages no session id; so what the others
// said of a session key is remembered.

import { remember, text } from "./values.js";

const MOST_SESSIONS = 500;

export class Sessions {
  constructor() {
    this.known = new Map(); // session key to {sessionId, agentId, runId}
  }

  identify(event, ctx) {
    const sessionKey = text(ctx.sessionKey) ?? text(event.sessionKey);
    const known = sessionKey ? this.known.get(sessionKey) : undefined;
    const sessionId = text(ctx.sessionId) ?? text(event.sessionId) ?? known?.sessionId;
    const agentId = text(ctx.agentId) ?? known?.agentId ?? agentOf(sessionKey);
    const runId = text(event.runId) ?? text(ctx.runId);
    if (sessionKey && sessionId) {
      remember(this.known, sessionKey, { sessionId, agentId, runId: runId ?? known?.runId }, MOST_SESSIONS);
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

  /** The session id that a key stands for, where a hook has said so. */
  idOf(sessionKey) {
    return this.known.get(sessionKey)?.sessionId;
  }

  forget(sessionKey) {
    this.known.delete(sessionKey);
  }
}

/** The agent in `agent:NAME:...`. */
export function agentOf(sessionKey) {
  return typeof sessionKey === "string" && sessionKey.startsWith("agent:") ? sessionKey.split(":")[1] || undefined : undefined;
}
