// An event as the sidecar takes it: one JSON object. Names are OpenTelemetry's where it has one
// (GenAI semantic conventions), else they begin with `openclaw.`.
//
// Content (`input`, `output`) comes in as JSON text made before, so that what is held until a run
// ends is text of known size and not somebody's objects.

import { createHash, randomUUID } from "node:crypto";
import { boundedJson, boundedText, byteLength } from "./json.js";

const ID_BYTES = 200; // the sidecar takes ids of at most 256 bytes
const NAME_BYTES = 512;
const ERROR_BYTES = 8 << 10;

/** The same place in a run's tree has the same id, whoever computes it and whenever. */
export function spanId(...parts) {
  return createHash("sha256").update(parts.join("\u0000")).digest("hex").slice(0, 16);
}

/** Content of a hook as text, or only its size where texts are not kept. */
export class Content {
  /** @param {{content: boolean, maxContentBytes: number}} settings */
  constructor(settings) {
    this.keep = settings.content;
    this.maxBytes = settings.maxContentBytes;
  }

  /** @returns {{json?: string, bytes: number, truncated: boolean} | undefined} */
  of(value) {
    if (value === undefined || value === null) return undefined;
    const { json, truncated } = boundedJson(value, this.maxBytes);
    const bytes = byteLength(json);
    return this.keep ? { json, bytes, truncated } : { bytes, truncated };
  }

  /** An error's text may quote what the user wrote, so it follows the same switch; its code does not. */
  error(text, code) {
    if (text === undefined && code === undefined) return undefined;
    if (this.keep) return boundedText(text ?? code, ERROR_BYTES);
    return code !== undefined ? boundedText(code, NAME_BYTES) : "[text not kept]";
  }
}

/**
 * @param {object} fields
 * @param {string} fields.kind
 * @param {number} fields.timestamp Unix milliseconds
 * @param {Record<string, unknown>} [fields.attributes]
 * @param {ReturnType<Content["of"]>} [fields.input]
 * @param {ReturnType<Content["of"]>} [fields.output]
 * @returns {string}
 */
export function eventJson(fields) {
  const attributes = {};
  for (const [key, value] of Object.entries(fields.attributes ?? {})) setAttribute(attributes, key, value);
  for (const side of ["input", "output"]) {
    const content = fields[side];
    if (!content) continue;
    if (content.json === undefined) attributes[`openclaw.${side}.bytes`] = content.bytes;
    if (content.truncated) attributes[`openclaw.${side}.truncated`] = true;
  }
  const event = {
    trace_id: randomUUID(),
    kind: fields.kind,
    timestamp: Math.round(fields.timestamp),
    duration_ms: duration(fields.durationMs),
    status: fields.status,
    error: fields.error === undefined ? undefined : boundedText(fields.error, ERROR_BYTES),
    session_id: id(fields.sessionId),
    run_id: id(fields.runId),
    agent_id: id(fields.agentId),
    span_id: fields.spanId,
    parent_span_id: fields.parentSpanId,
    name: fields.name === undefined || fields.name === null || fields.name === "" ? undefined : boundedText(fields.name, NAME_BYTES),
    attributes,
  };
  let json = JSON.stringify(event);
  for (const side of ["input", "output"]) {
    if (fields[side]?.json !== undefined) json = `${json.slice(0, -1)},"${side}":${fields[side].json}}`;
  }
  return json;
}

/** The event that tells what this plugin had to drop. */
export function droppedJson(dropped, timestamp) {
  const count = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  const attributes = { "openclaw.trace_plugin.dropped": count };
  for (const [reason, n] of Object.entries(dropped)) attributes[`openclaw.trace_plugin.dropped.${reason}`] = n;
  const reasons = Object.entries(dropped).map(([reason, n]) => `${reason} ${n}`).join(", ");
  return eventJson({
    kind: "error",
    timestamp,
    name: "events_dropped",
    status: "error",
    error: `the openclaw-trace plugin dropped ${count} events (${reasons})`,
    attributes,
  });
}

/** Tokens and cost of one assistant message, in OpenTelemetry's terms. */
export function readUsage(raw) {
  if (raw === null || typeof raw !== "object") return undefined;
  const fresh = count(raw.input);
  const cacheRead = count(raw.cacheRead);
  const cacheWrite = count(raw.cacheWrite);
  const output = count(raw.output);
  const cost = raw.cost !== null && typeof raw.cost === "object" ? amount(raw.cost.total) : amount(raw.cost);
  if (fresh === undefined && cacheRead === undefined && cacheWrite === undefined && output === undefined && cost === undefined) {
    return undefined;
  }
  return {
    // OpenClaw's `input` is what was not read from or written to the cache; OpenTelemetry's includes it.
    input: (fresh ?? 0) + (cacheRead ?? 0) + (cacheWrite ?? 0),
    output: output ?? 0,
    cacheRead: cacheRead ?? 0,
    cacheWrite: cacheWrite ?? 0,
    reasoning: count(raw.reasoningTokens),
    cost,
  };
}

export function usageAttributes(usage) {
  if (!usage) return {};
  return {
    "gen_ai.usage.input_tokens": usage.input,
    "gen_ai.usage.output_tokens": usage.output,
    "gen_ai.usage.cache_read.input_tokens": usage.cacheRead,
    "gen_ai.usage.cache_creation.input_tokens": usage.cacheWrite,
    "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    cost_usd: usage.cost,
  };
}

function setAttribute(attributes, key, value) {
  switch (typeof value) {
    case "string":
      if (value !== "") attributes[key] = boundedText(value, NAME_BYTES);
      break;
    case "number":
      if (Number.isFinite(value)) attributes[key] = value;
      break;
    case "boolean":
      attributes[key] = value;
      break;
    case "object":
      if (Array.isArray(value)) attributes[key] = value.filter((item) => typeof item === "string").map((item) => boundedText(item, NAME_BYTES));
  }
}

function id(value) {
  if (typeof value === "number") return String(value);
  if (typeof value !== "string" || value === "") return undefined;
  if (byteLength(value) <= ID_BYTES) return value.toWellFormed();
  // A cut id could be another's; a hash cannot, and stays the same each time.
  return createHash("sha256").update(value).digest("hex");
}

function duration(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

function count(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

function amount(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}
