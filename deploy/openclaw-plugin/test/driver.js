// Not a test: a process with the plugin in it, started by plugin.test.js.
// The plugin is imported afresh for each registration, as OpenClaw does.

import { recorded } from "./helpers.js";

const [scenario] = process.argv.slice(2);
const logger = { info: console.log, warn: console.log };

async function register(registrationMode, pluginConfig) {
  const { default: plugin } = await import(`../index.js?${registrationMode}${Math.random()}`);
  const handlers = {};
  const answered = plugin.register({ registrationMode, pluginConfig, logger, on: (hook, handler) => (handlers[hook] = handler) });
  if (answered !== undefined) throw new Error("register must be synchronous");
  return handlers;
}

const full = await register("full");
const discovery = await register("discovery");
await register("discovery");
await register("tool-discovery");
const heard = process.env.MODE === "discovery" ? [discovery] : process.env.MODE === "both" ? [full, discovery] : [full];

// The recorded turn, moved to now: the plugin's clock is the real one here.
const records = recorded("turn-with-tool");
const shift = Date.now() - records[0].at;
for (const { event } of records) for (const message of event.messages ?? []) message.timestamp += shift;

function fire(list) {
  for (const { hook, event, ctx } of list) for (const handlers of heard) handlers[hook]?.(event, ctx);
}

switch (scenario) {
  case "idle":
    break;
  case "empty":
    fire(records);
    break;
  case "exit":
    fire(records);
    process.exit(3);
    break;
  case "moved": {
    const first = await register("full", { endpoint: process.env.FIRST });
    for (const { hook, event, ctx } of records) first[hook]?.(event, ctx);
    await new Promise((done) => setTimeout(done, 100));
    const second = await register("full", { endpoint: process.env.SECOND });
    second.gateway_start({ port: 1 }, {});
    break;
  }
  case "rubbish": {
    const cyclic = { runId: "r", toolCallId: "t", callId: "c" };
    cyclic.messages = [cyclic, null, 1n, { role: "assistant", content: cyclic, usage: cyclic, timestamp: "x" }];
    cyclic.historyMessages = cyclic.messages;
    cyclic.result = cyclic.params = cyclic.prompt = cyclic.content = cyclic;
    const throwing = new Proxy({}, { get() { throw new Error("no"); }, ownKeys() { throw new Error("no"); }, has() { throw new Error("no"); } });
    const huge = { runId: "h", toolCallId: "h", content: "x".repeat(20_000_000), prompt: "y".repeat(20_000_000), params: { text: "\ud800".repeat(1_000_000) } };
    const odd = { runId: 7, toolCallId: Symbol("id"), durationMs: -1, messages: "none", usage: [], error: new Error("e"), job: null, metadata: null, timestamp: NaN };
    const ctxs = [undefined, null, 1n, "text", {}, throwing, cyclic, { runId: "r", sessionKey: "agent:x", sessionId: "s", trace: null }];
    for (const handlers of heard) {
      for (const [hook, handler] of Object.entries(handlers)) {
        for (const event of [undefined, null, 0, 1n, "text", [], Symbol("s"), () => {}, {}, cyclic, throwing, huge, odd]) {
          for (const ctx of ctxs) {
            const answer = handler(event !== null && typeof event === "object" && event !== throwing ? { ...event } : event, ctx);
            if (answer !== undefined && !(answer instanceof Promise && hook === "gateway_stop")) throw new Error(`${hook} answered`);
          }
        }
      }
    }
    console.log("no handler threw or answered");
    break;
  }
}
