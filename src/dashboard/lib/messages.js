// Conversations inside of inputs and outputs, in the shapes that are met: OpenClaw's plugin, OpenAI, Anthropic and
// OpenTelemetry. What is not known to be one of them is left to be shown as the JSON it is.

/** The value, read as JSON where it is a text that holds an object or a list. */
export function readBody(value) {
  if (typeof value !== "string") return value;
  const text = value.trim();
  if (!/^[[{]/.test(text)) return value;
  try {
    return JSON.parse(text);
  } catch {
    return value;
  }
}

/**
 * What a preview says, in one line. It is the beginning of the body's JSON, so most of it may be the frame around the words;
 * and it may be cut in the middle, so it cannot be read as JSON.
 */
export function gist(preview) {
  if (typeof preview !== "string" || !/^[[{]/.test(preview)) return preview ?? "";
  const found = [...preview.matchAll(/"(text|content|prompt|thinking|command|query|url|path)":\s*"((?:[^"\\]|\\.)*)/g)];
  const best = found.find(([, key]) => key === "text" || key === "content") ?? found[0];
  if (!best) return preview;
  try {
    return JSON.parse(`"${best[2]}"`);
  } catch {
    return best[2];
  }
}

const isMessage = (value) => value !== null && typeof value === "object" && typeof value.role === "string" && ["content", "parts", "tool_calls", "text"].some((key) => key in value);

/** `{ messages: [{ role, parts }], leftOut, rest }`, or null; `leftOut`: how many older ones were not sent. */
export function conversation(body) {
  if (Array.isArray(body)) return body.length > 0 && body.every(isMessage) ? { messages: body.map(message), rest: undefined } : null;
  if (body === null || typeof body !== "object") return null;
  if (isMessage(body)) return { messages: [message(body)], rest: undefined };
  const found = [];
  const { messages, prompt, system_prompt: systemPrompt, system, choices, messages_left_out: leftOut, ...rest } = body;
  if (systemPrompt) found.push({ role: "system", parts: parts(systemPrompt) });
  else if (typeof system === "string" || Array.isArray(system)) found.push({ role: "system", parts: parts(system) });
  if (Array.isArray(messages)) {
    if (!messages.every(isMessage)) return null;
    found.push(...messages.map(message));
  }
  if (Array.isArray(choices)) {
    if (!choices.every((choice) => isMessage(choice?.message))) return null;
    found.push(...choices.map((choice) => message(choice.message)));
  }
  if (!Array.isArray(messages) && !Array.isArray(choices) && !systemPrompt) return null;
  // What is asked now comes after what was said before.
  if (prompt !== undefined) found.push({ role: "user", parts: parts(prompt) });
  return { messages: found, leftOut, rest: Object.keys(rest).length > 0 ? rest : undefined };
}

function message(one) {
  const out = [...parts(one.parts ?? one.content ?? one.text)];
  for (const call of one.tool_calls ?? []) {
    out.push({ type: "call", name: call.function?.name ?? call.name, value: readBody(call.function?.arguments ?? call.arguments) });
  }
  const isResult = one.role === "tool" || one.role === "toolResult";
  return { role: one.role, name: one.toolName ?? one.name, failed: one.isError === true, isResult, parts: out };
}

function parts(content) {
  if (content === undefined || content === null) return [];
  if (typeof content === "string") return [{ type: "text", text: content }];
  if (!Array.isArray(content)) return [{ type: "json", value: content }];
  return content.map(part);
}

function part(one) {
  if (typeof one === "string") return { type: "text", text: one };
  if (one === null || typeof one !== "object") return { type: "json", value: one };
  switch (one.type) {
    case "text":
    case "input_text":
    case "output_text":
      return { type: "text", text: String(one.text ?? one.content ?? "") };
    case "thinking":
    case "reasoning":
      return { type: "thinking", text: String(one.thinking ?? one.text ?? one.content ?? "") };
    case "tool_use":
    case "toolCall":
    case "tool_call":
      return { type: "call", name: one.name, value: readBody(one.input ?? one.arguments) };
    case "tool_result":
    case "tool_call_response":
      return { type: "result", failed: one.is_error === true, value: readBody(one.content ?? one.response ?? one.result) };
    default:
      return { type: "json", value: one };
  }
}
