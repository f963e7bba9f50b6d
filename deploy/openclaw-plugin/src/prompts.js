// What a model call got, as content.
//
// The first call of a try: prompt, system prompt, and the history, newest first as far as there is
// room. A later one: what came since the call before, whose span it names. A run of fifty calls would
// else hold its own beginning fifty times.

import { boundedJson, byteLength } from "./json.js";

/** With its texts cut, a history of this size stays a structure in the sidecar's default limits. */
const HISTORY_BYTES = 48 << 10;

/** The prompt first: what a receiver cuts, it cuts at the end. */
export function firstInput(content, event, history) {
  const room = Math.min(HISTORY_BYTES, content.maxBytes);
  const kept = [];
  let bytes = 0;
  for (let index = history.length - 1; index >= 0; index--) {
    const { json } = boundedJson(slim(history[index]), room);
    bytes += byteLength(json) + 1;
    if (bytes > room) break;
    kept.unshift(json);
  }
  const prompt = boundedJson({ prompt: event.prompt, system_prompt: event.systemPrompt }, content.maxBytes);
  const leftOut = history.length - kept.length;
  const json = `${prompt.json.slice(0, -1)}${prompt.json === "{}" ? "" : ","}"messages_left_out":${leftOut},"messages":[${kept.join(",")}]}`;
  const size = byteLength(json);
  return content.keep ? { json, bytes: size, truncated: prompt.truncated || leftOut > 0 } : { bytes: size, truncated: prompt.truncated || leftOut > 0 };
}

export function laterInput(content, follows, messages) {
  return content.of({ follows, messages: messages.map(slim) });
}

/** A message without what is only for OpenClaw's own books. */
function slim(message) {
  if (message === null || typeof message !== "object") return message;
  const { role, content, toolCallId, toolName, isError } = message;
  return { role, content, toolCallId, toolName, isError };
}

/** The texts of an answer, without its tool calls. */
export function answerText(message) {
  const { content } = message;
  if (!Array.isArray(content)) return content;
  const texts = content.filter((part) => part?.type === "text" && typeof part.text === "string").map((part) => part.text);
  return texts.length > 0 ? texts.join("\n") : undefined;
}
