// Which assistant message answers which model call.
//
// Hooks tell of a model call without its content, and of messages without their call. Both come in
// order, and a message's timestamp is taken when its answer begins to stream, some milliseconds
// after the call began. Usage is on the messages, so a message is given to one call or to none:
// tokens are never counted twice. They come with all earlier turns of the session.

import { number, text } from "./values.js";

/** How far a message's clock reading may lie outside its call. */
const SLACK_MS = 100;

const MOST_SEEN = 20_000;

/**
 * @param {{startedAt: number, endedAt?: number}[]} calls in order
 * @param {{timestamp?: number}[]} messages in order
 * @returns {{matched: Map<object, object>, strays: object[]}} call to message, and messages without a call
 */
export function matchCalls(calls, messages) {
  const matched = new Map();
  if (calls.length === messages.length) {
    calls.forEach((call, index) => matched.set(call, messages[index]));
    return { matched, strays: [] };
  }
  const strays = [];
  let next = 0;
  for (const message of messages) {
    let index = next;
    while (index < calls.length && !isWithin(calls[index], message)) index++;
    if (index < calls.length) {
      matched.set(calls[index], message);
      next = index + 1;
    } else {
      strays.push(message);
    }
  }
  return { matched, strays };
}

function isWithin(call, message) {
  if (typeof message.timestamp !== "number") return true;
  return message.timestamp >= call.startedAt - SLACK_MS && message.timestamp <= (call.endedAt ?? Infinity) + SLACK_MS;
}

/**
 * Assistant messages of a run that were not counted yet, in order. `messages` is the whole session.
 * @returns {{message: object, index: number, timestamp?: number}[]}
 */
export function freshAnswers(run, messages) {
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
    if (timestamp === undefined ? index < lastUser : timestamp < run.startedAt - SLACK_MS) return;
    if (!markSeen(run, message)) return;
    fresh.push({ message, index, timestamp });
  });
  return fresh;
}

/** False when the message was seen before. */
export function markSeen(run, message) {
  const key = messageKey(message);
  if (key === "/") return true;
  if (run.seen.has(key)) return false;
  if (run.seen.size < MOST_SEEN) run.seen.add(key);
  return true;
}

// The identity of an assistant message in a session's list, which is copied from turn to turn.
function messageKey(message) {
  return `${message?.timestamp ?? ""}/${message?.responseId ?? ""}`;
}
