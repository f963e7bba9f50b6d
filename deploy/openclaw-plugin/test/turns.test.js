import assert from "node:assert/strict";
import { test } from "node:test";
import { eventsOf, ofKind, recorded, recorderFor } from "./helpers.js";

const RUN = "f0682f26-afee-486f-8d61-1b0409d29dac";

test("a turn with a tool is one run, two model calls and a tool call", () => {
  const events = eventsOf(recorded("turn-with-tool"));
  assert.deepEqual(events.map((event) => event.kind).sort(), ["llm_call", "llm_call", "run", "tool_call"]);
  for (const event of events) {
    assert.equal(event.run_id, RUN);
    assert.equal(event.session_id, "s3");
    assert.equal(event.agent_id, "main");
    assert.equal(event.status, "ok");
    assert.equal(event.attributes["openclaw.session_key"], "agent:main:explicit:s3");
    assert.match(event.trace_id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(event.attributes["otel.trace_id"], "7c4c4a16dd31b6c6dce5257c097cba6c");
  }
});

test("calls and tools hang on their run, and span ids are the same each time", () => {
  const shape = (events) => events.map(({ kind, span_id, parent_span_id }) => ({ kind, span_id, parent_span_id }));
  const events = eventsOf(recorded("turn-with-tool"));
  const [run] = ofKind(events, "run");
  assert.equal(run.parent_span_id, undefined);
  assert.match(run.span_id, /^[0-9a-f]{16}$/);
  for (const event of events) if (event !== run) assert.equal(event.parent_span_id, run.span_id);
  assert.equal(new Set(events.map((event) => event.span_id)).size, 4);
  assert.deepEqual(shape(eventsOf(recorded("turn-with-tool"))), shape(events));
});

test("a model call has its prompt, its answer, its tokens and its cost", () => {
  const [first, second] = ofKind(eventsOf(recorded("turn-with-tool")), "llm_call");
  assert.equal(first.name, "mock-1");
  assert.equal(first.input.prompt, "[Wed 2026-11-25 07:11 UTC] Please TOOL");
  assert.match(first.input.system_prompt, /^<!-- openclaw:attempt:STABLE/);
  assert.equal(first.input.messages[0].role, "custom");
  assert.deepEqual(first.output.content[0], { type: "toolCall", id: "call_mock_11", name: "exec", arguments: { command: "echo hello-from-tool" } });
  assert.deepEqual(
    { ...first.attributes, "openclaw.session_key": undefined, "otel.trace_id": undefined },
    {
      "openclaw.session_key": undefined,
      "otel.trace_id": undefined,
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "mock",
      "gen_ai.request.model": "mock-1",
      "gen_ai.response.model": "mock-1",
      "gen_ai.response.id": "chatcmpl-mock11",
      "gen_ai.response.finish_reasons": ["tool_call"],
      "gen_ai.usage.input_tokens": 1211,
      "gen_ai.usage.output_tokens": 34,
      "gen_ai.usage.cache_read.input_tokens": 1000,
      "gen_ai.usage.cache_creation.input_tokens": 0,
      "gen_ai.usage.reasoning.output_tokens": 8,
      cost_usd: 0.0014429999999999998,
      "openclaw.model_call.id": `${RUN}:model:1`,
      "openclaw.model_call.attempt": 1,
      "openclaw.model_call.api": "openai-completions",
      "openclaw.model_call.time_to_first_byte_ms": 35,
      "openclaw.model_call.request_bytes": 39441,
      "openclaw.model_call.response_bytes": 777,
    },
  );
  assert.equal(first.duration_ms, 185);
  // What the second call got that the first had not: the tool's result.
  assert.equal(second.input.follows, first.span_id);
  assert.deepEqual(second.input.messages.map((message) => message.role), ["toolResult"]);
  assert.equal(second.output.content[0].text, "Hello from the mock model.");
  assert.equal(second.attributes["gen_ai.usage.input_tokens"], 1212);
});

test("a tool call has parameters, result and duration", () => {
  const [tool] = ofKind(eventsOf(recorded("turn-with-tool")), "tool_call");
  assert.equal(tool.name, "exec");
  assert.deepEqual(tool.input, { command: "echo hello-from-tool" });
  assert.equal(tool.output.content[0].text, "hello-from-tool");
  assert.equal(tool.duration_ms, 693);
  assert.equal(tool.attributes["gen_ai.operation.name"], "execute_tool");
  assert.equal(tool.attributes["gen_ai.tool.name"], "exec");
  assert.equal(tool.attributes["gen_ai.tool.call.id"], "call_mock_11");
});

test("a run has the sums of its calls, under names of its own", () => {
  const events = eventsOf(recorded("turn-with-tool"));
  const [run] = ofKind(events, "run");
  const calls = ofKind(events, "llm_call");
  const sum = (name) => calls.reduce((total, call) => total + call.attributes[name], 0);
  assert.equal(run.attributes["openclaw.run.input_tokens"], sum("gen_ai.usage.input_tokens"));
  assert.equal(run.attributes["openclaw.run.input_tokens"], 2423);
  assert.equal(run.attributes["openclaw.run.output_tokens"], 68);
  assert.equal(run.attributes["openclaw.run.cache_read_input_tokens"], 2000);
  assert.ok(Math.abs(run.attributes["openclaw.run.cost_usd"] - 0.002889) < 1e-12);
  assert.equal(run.attributes["openclaw.run.trigger"], "user");
  assert.equal(run.attributes["openclaw.run.model_calls"], 2);
  assert.equal(run.attributes["openclaw.run.tool_calls"], 1);
  assert.ok(!Object.keys(run.attributes).some((name) => name.startsWith("gen_ai.usage") || name === "cost_usd"));
  assert.equal(run.output, "Hello from the mock model.");
});

test("messages of earlier turns are not counted", () => {
  const records = recorded("turn-with-tool");
  const earlier = {
    role: "assistant",
    content: [{ type: "text", text: "an answer of yesterday" }],
    usage: { input: 5_000, output: 500, cacheRead: 0, cacheWrite: 0, cost: { total: 9 } },
    stopReason: "stop",
    timestamp: records[0].at - 60_000,
    responseId: "earlier",
  };
  // One that is in the history the turn began with, one that only its time tells, one that another run owns.
  const recent = { ...earlier, timestamp: records[0].at - 50, responseId: "recent" };
  const foreign = { ...earlier, timestamp: records[0].at + 5, responseId: "foreign", __openclaw: { runId: "another" } };
  records[0].event.historyMessages.push(structuredClone(recent));
  records.find(({ hook }) => hook === "agent_end").event.messages.unshift(earlier, recent, foreign);
  const events = eventsOf(records);
  assert.equal(ofKind(events, "llm_call").length, 2);
  assert.equal(ofKind(events, "run")[0].attributes["openclaw.run.input_tokens"], 2423);
});

test("cached tokens are part of the input tokens", () => {
  const records = recorded("turn-with-tool");
  const { messages } = records.find(({ hook }) => hook === "agent_end").event;
  messages[1].usage = { input: 7, output: 2, cacheRead: 11, cacheWrite: 13, totalTokens: 33, cost: { total: 0.5 } };
  const [call] = ofKind(eventsOf(records), "llm_call");
  assert.equal(call.attributes["gen_ai.usage.input_tokens"], 31);
  assert.equal(call.attributes["gen_ai.usage.cache_read.input_tokens"], 11);
  assert.equal(call.attributes["gen_ai.usage.cache_creation.input_tokens"], 13);
  assert.equal(call.attributes.cost_usd, 0.5);
});

test("a message without a price keeps its tokens", () => {
  const records = recorded("turn-with-tool");
  for (const message of records.find(({ hook }) => hook === "agent_end").event.messages) delete message.usage?.cost;
  const events = eventsOf(records);
  assert.equal(ofKind(events, "llm_call")[0].attributes["gen_ai.usage.input_tokens"], 1211);
  assert.ok(!("cost_usd" in ofKind(events, "llm_call")[0].attributes));
  assert.ok(!("openclaw.run.cost_usd" in ofKind(events, "run")[0].attributes));
});

test("a turn that is tried three times is one failed run with three calls", () => {
  const events = eventsOf(recorded("turn-that-fails"));
  const runs = ofKind(events, "run");
  const calls = ofKind(events, "llm_call");
  assert.equal(runs.length, 1);
  assert.equal(runs[0].status, "error");
  assert.equal(runs[0].error, "500 mock upstream exploded");
  assert.equal(runs[0].attributes["error.type"], "500");
  assert.equal(runs[0].attributes["openclaw.run.attempts"], 3);
  assert.equal(calls.length, 3);
  // OpenClaw numbers the calls of each try from 1 again.
  assert.equal(new Set(calls.map((call) => call.attributes["openclaw.model_call.id"])).size, 1);
  assert.equal(new Set(calls.map((call) => call.span_id)).size, 3);
  for (const call of calls) {
    assert.equal(call.status, "error");
    assert.equal(call.error, "500 mock upstream exploded");
    assert.equal(call.parent_span_id, runs[0].span_id);
  }
  assert.deepEqual(calls.map((call) => call.attributes["openclaw.model_call.attempt"]), [1, 2, 3]);
  const [error] = ofKind(events, "error");
  assert.equal(error.parent_span_id, runs[0].span_id);
  assert.equal(error.name, "500");
});

test("a turn that succeeds at its second try is one run that is well", () => {
  const first = recorded("turn-that-fails").slice(0, 5);
  const second = recorded("turn-with-tool");
  const shift = first.at(-1).at + 2_000 - second[0].at;
  const text = JSON.stringify(second)
    .replaceAll(RUN, first[0].event.runId)
    .replaceAll(/("(?:at|timestamp)":)(\d+)/g, (_, name, at) => `${name}${Number(at) + shift}`);
  const events = eventsOf([...first, ...JSON.parse(text)]);
  const [run, ...others] = ofKind(events, "run");
  assert.deepEqual(others, []);
  assert.equal(run.status, "ok");
  assert.equal(run.error, undefined);
  assert.equal(run.attributes["openclaw.run.attempts"], 2);
  assert.equal(run.attributes["openclaw.run.input_tokens"], 2423);
  assert.deepEqual(ofKind(events, "llm_call").map((call) => call.status), ["error", "ok", "ok"]);
});

test("the messages of a first try are not counted again by a second", () => {
  const first = recorded("turn-with-tool");
  const end = structuredClone(first.find(({ hook }) => hook === "agent_end"));
  const again = { ...structuredClone(first[0]), at: end.at + 100 };
  end.at += 200;
  const events = eventsOf([...first, again, end]);
  assert.equal(ofKind(events, "run").length, 1);
  assert.equal(ofKind(events, "llm_call").length, 2);
  assert.equal(ofKind(events, "run")[0].attributes["openclaw.run.input_tokens"], 2423);
});

test("a try that ends without agent_end is counted by the one that follows", () => {
  const records = recorded("turn-with-tool");
  const end = records.find(({ hook }) => hook === "agent_end");
  const first = records.filter(({ hook }) => hook !== "agent_end");
  const again = structuredClone(records[0]);
  again.at = end.at + 100;
  again.event.historyMessages = structuredClone(end.event.messages);
  const events = eventsOf([...first, again, { ...end, at: end.at + 200 }]);
  assert.deepEqual(ofKind(events, "llm_call").map((call) => call.attributes["gen_ai.usage.input_tokens"]), [1211, 1212]);
  assert.equal(ofKind(events, "run")[0].attributes["openclaw.run.input_tokens"], 2423);
});

test("with fewer messages than calls each message is given to the call it falls into", () => {
  const records = recorded("turn-with-tool");
  const end = records.find(({ hook }) => hook === "agent_end");
  end.event.messages.splice(1, 2); // the first answer and the tool's result were compacted away
  const [first, second] = ofKind(eventsOf(records), "llm_call");
  assert.ok(!("gen_ai.usage.input_tokens" in first.attributes));
  assert.equal(second.attributes["gen_ai.usage.input_tokens"], 1212);
});

test("a message without a call is a call of its own, so that its tokens are told", () => {
  const records = recorded("turn-with-tool").filter(({ hook }) => !hook.startsWith("model_call"));
  const events = eventsOf(records);
  assert.deepEqual(ofKind(events, "llm_call").map((call) => call.attributes["gen_ai.usage.input_tokens"]), [1211, 1212]);
  assert.equal(ofKind(events, "run")[0].attributes["openclaw.run.input_tokens"], 2423);
});

test("a runner that only tells the sum of a turn gives one call with that sum", () => {
  const [input, , , , , , , end, output] = recorded("turn-with-tool");
  end.event.messages = [{ role: "user", content: "hi", timestamp: input.at }];
  const events = eventsOf([input, { ...output, at: end.at - 1 }, end]); // llm_output first, as the CLI runner has it
  const [call, ...others] = ofKind(events, "llm_call");
  assert.deepEqual(others, []);
  assert.equal(call.attributes["gen_ai.usage.input_tokens"], 2423);
  assert.equal(ofKind(events, "run")[0].attributes["openclaw.run.input_tokens"], 2423);
});

test("without an end the calls are told without usage, and the run says that its end was not seen", () => {
  const records = recorded("turn-with-tool").filter(({ hook }) => hook !== "agent_end" && hook !== "llm_output");
  const events = eventsOf(records);
  assert.equal(ofKind(events, "llm_call").length, 2);
  for (const call of ofKind(events, "llm_call")) assert.ok(!("gen_ai.usage.input_tokens" in call.attributes));
  const [run] = ofKind(events, "run");
  assert.equal(run.status, undefined);
  assert.equal(run.attributes["openclaw.run.end_seen"], false);
});

test("a tool call whose end never comes is told when its run ends", () => {
  const records = recorded("turn-with-tool").filter(({ hook }) => hook !== "after_tool_call");
  const [tool] = ofKind(eventsOf(records), "tool_call");
  assert.equal(tool.status, "error");
  assert.deepEqual(tool.input, { command: "echo hello-from-tool" });
});

test("a tool call that failed says so", () => {
  const records = recorded("turn-with-tool");
  const after = records.find(({ hook }) => hook === "after_tool_call");
  after.event.error = "command not found";
  delete after.event.result;
  const [tool] = ofKind(eventsOf(records), "tool_call");
  assert.equal(tool.status, "error");
  assert.equal(tool.error, "command not found");
});

test("a sub-agent's run hangs on the tool call that spawned it", () => {
  const parent = recorded("turn-with-tool");
  const before = parent.findIndex(({ hook }) => hook === "before_tool_call");
  for (const record of parent) if (record.event.toolName) record.event.toolName = "sessions_spawn";
  const at = parent[before].at + 5;
  const child = JSON.parse(JSON.stringify(recorded("turn-with-tool")).replaceAll(RUN, "child-run").replaceAll("agent:main:explicit:s3", "agent:main:subagent:1").replaceAll('"s3"', '"child"'));
  const spawned = {
    at,
    hook: "subagent_spawned",
    event: { runId: "child-run", childSessionKey: "agent:main:subagent:1", agentId: "main", label: "helper", mode: "run", threadRequested: false },
    ctx: { runId: "child-run", childSessionKey: "agent:main:subagent:1", requesterSessionKey: "agent:main:explicit:s3" },
  };
  const ended = { at: at + 2_000, hook: "subagent_ended", event: { targetSessionKey: "agent:main:subagent:1", targetKind: "subagent", reason: "done", runId: "child-run", outcome: "ok" }, ctx: {} };
  const events = eventsOf([...parent.slice(0, before + 1), spawned, ...child, ...parent.slice(before + 1), ended]);
  const [tool] = ofKind(events, "tool_call").filter((event) => event.run_id === RUN);
  const [run] = ofKind(events, "run").filter((event) => event.run_id === "child-run");
  assert.equal(run.parent_span_id, tool.span_id);
  assert.equal(run.attributes["openclaw.run.parent_run_id"], RUN);
  assert.deepEqual(ofKind(events, "subagent").map((event) => event.attributes["openclaw.subagent.event"]), ["spawned", "ended"]);
});

test("messages, sessions, cron and gateway are events of their own", () => {
  const events = eventsOf(recorded("others"));
  const messages = ofKind(events, "message");
  assert.deepEqual(messages.map((event) => event.attributes["openclaw.message.direction"]).sort(), ["received", "sending"]);
  for (const message of messages) assert.equal(message.name, "webchat");
  assert.equal(messages.find((event) => event.input !== undefined).input, "Please TOOL via chat");
  assert.equal(messages.find((event) => event.output !== undefined).output, "Hello from the mock model.");
  assert.deepEqual(ofKind(events, "session").map((event) => event.name).sort(), ["end", "start"]);
  assert.equal(ofKind(events, "session").find((event) => event.name === "end").attributes["openclaw.session.reason"], "shutdown");
  assert.deepEqual(ofKind(events, "gateway").map((event) => event.name).sort(), ["start", "stop"]);
  const [cron] = ofKind(events, "cron");
  assert.equal(cron.name, "skill-collection-review-main");
  assert.equal(cron.attributes["openclaw.cron.action"], "added");
});

test("a message that came in is of the run that answers it, or of none after a while", () => {
  const turn = recorded("turn-with-tool");
  const message = (sessionKey) => ({ at: turn[0].at - 300, hook: "message_received", event: { content: "hi", from: "me" }, ctx: { channelId: "telegram", sessionKey } });
  const events = eventsOf([message("agent:main:explicit:s3"), message("agent:main:other"), ...turn]);
  const [answered, unanswered] = ofKind(events, "message").sort((a, b) => (a.run_id ? -1 : 1));
  assert.equal(answered.run_id, RUN);
  assert.equal(answered.session_id, "s3");
  assert.equal(answered.parent_span_id, ofKind(events, "run")[0].span_id);
  assert.equal(unanswered.run_id, undefined);
  assert.equal(ofKind(events, "message").length, 2);
});

test("what goes out is of the session's last run", () => {
  const turn = recorded("turn-with-tool");
  const sent = {
    at: turn.at(-1).at + 10,
    hook: "message_sent",
    event: { to: "someone", content: "Hello", success: false, error: "no route" },
    ctx: { channelId: "telegram", sessionKey: "agent:main:explicit:s3" },
  };
  const [message] = ofKind(eventsOf([...turn, sent]), "message");
  assert.equal(message.run_id, RUN);
  assert.equal(message.session_id, "s3");
  assert.equal(message.status, "error");
  assert.equal(message.error, "no route");
});

test("a compaction is one event from its start to its end, or one that says the end was not seen", () => {
  const ctx = { sessionKey: "agent:main:main", sessionId: "s", runId: "r", agentId: "main" };
  const before = { at: 1_000, hook: "before_compaction", event: { messageCount: 90, tokenCount: 100_000 }, ctx };
  const after = { at: 4_000, hook: "after_compaction", event: { messageCount: 12, tokenCount: 9_000, compactedCount: 78 }, ctx };
  const [whole] = ofKind(eventsOf([before, after]), "compaction");
  assert.equal(whole.duration_ms, 3_000);
  assert.equal(whole.status, "ok");
  assert.equal(whole.attributes["openclaw.compaction.messages_before"], 90);
  assert.equal(whole.attributes["openclaw.compaction.compacted_count"], 78);
  const [lost] = ofKind(eventsOf([before]), "compaction");
  assert.equal(lost.status, "error");
});

test("with content off sizes are told and texts are not", () => {
  const records = [...recorded("turn-with-tool"), ...recorded("turn-that-fails"), ...recorded("others")];
  const text = JSON.stringify(eventsOf(records, { config: { content: false } }));
  for (const secret of ["TOOL", "hello-from-tool", "Hello from", "personal assistant", "mock upstream exploded", "Workshop"]) {
    assert.ok(!text.includes(secret), `${secret} is told`);
  }
  const events = eventsOf(records, { config: { content: false } });
  const call = ofKind(events, "llm_call")[0];
  assert.equal(call.input, undefined);
  assert.ok(call.attributes["openclaw.input.bytes"] > 300);
  assert.ok(call.attributes["openclaw.output.bytes"] > 10);
  assert.equal(ofKind(events, "run").find((run) => run.status === "error").error, "500");
});

test("a history that is too long loses its oldest messages", () => {
  const records = recorded("turn-with-tool");
  records[0].event.historyMessages = Array.from({ length: 500 }, (_, index) => ({ role: "user", content: `${index} ${"x".repeat(1_000)}` }));
  const [call] = ofKind(eventsOf(records), "llm_call");
  assert.ok(call.input.messages.length < 50);
  assert.equal(call.input.messages.length + call.input.messages_left_out, 500);
  assert.match(call.input.messages.at(-1).content, /^499 /);
  assert.equal(call.attributes["openclaw.input.truncated"], true);
});

test("runs, calls and bytes that are held are bounded", () => {
  const records = [];
  for (let run = 0; run < 300; run++) {
    const ctx = { runId: `run-${run}`, sessionId: `s-${run}`, sessionKey: `k-${run}` };
    records.push({ at: run, hook: "llm_input", event: { runId: `run-${run}`, prompt: "p".repeat(50_000), historyMessages: [] }, ctx });
    records.push({ at: run, hook: "model_call_started", event: { runId: `run-${run}`, callId: `run-${run}:model:1` }, ctx });
  }
  const events = eventsOf(records, { config: { maxQueueBytes: 1 << 20, maxQueueEvents: 100_000 } });
  const told = new Set(ofKind(events, "run").map((run) => run.run_id));
  assert.ok(told.has("run-299"));
  // Inputs beyond the bound are gone, the calls are not.
  const calls = ofKind(events, "llm_call");
  assert.ok(calls.filter((call) => call.input === undefined).length > 0);
  assert.ok(calls.every((call) => call.input !== undefined || call.attributes["openclaw.input.truncated"] === true));
});

test("a run is told some time after its end, and not a second time by a late try", () => {
  const { recorder, fire, clock } = recorderFor("http://127.0.0.1:1");
  const told = () => ofKind(recorder.sender.unsent().map((json) => JSON.parse(json)), "run").length;
  const records = recorded("turn-with-tool");
  fire(records);
  recorder.drain(0);
  assert.equal(recorder.observer.sweep(clock.now + 100), 1_899);
  assert.equal(told(), 0);
  recorder.observer.sweep(clock.now + 2_000);
  assert.equal(told(), 1);
  fire(recorded("turn-with-tool").map((record) => ({ ...record, at: record.at + 20_000 })));
  recorder.drain(0);
  recorder.observer.closeAll(clock.now);
  assert.equal(told(), 1);
  recorder.close();
});

test("a run whose end never comes is told when its session has gone on, or after a while", () => {
  const told = (records, later) => {
    const { recorder, fire, clock } = recorderFor("http://127.0.0.1:1");
    fire(records);
    recorder.drain(0);
    recorder.observer.sweep(clock.now + later);
    const events = recorder.sender.unsent().map((json) => JSON.parse(json));
    recorder.close();
    return ofKind(events, "run").length;
  };
  const endless = recorded("turn-with-tool").filter(({ hook }) => hook !== "agent_end" && hook !== "llm_output");
  assert.equal(told(endless, 9 * 60_000), 0);
  assert.equal(told(endless, 11 * 60_000), 1);
  const waitsForTool = endless.slice(0, 4);
  assert.equal(waitsForTool.at(-1).hook, "before_tool_call");
  assert.equal(told(waitsForTool, 3_600_000), 0);
  const next = recorded("turn-with-tool")[0];
  next.event.runId = next.ctx.runId = "next-run";
  next.at = endless.at(-1).at + 61_000;
  assert.equal(told([...endless, next], 0), 1);
});

test("a failed run waits longer for a further try, but not past its session's next run", () => {
  const { recorder, fire, clock } = recorderFor("http://127.0.0.1:1");
  const told = () => ofKind(recorder.sender.unsent().map((json) => JSON.parse(json)), "run").map((run) => run.status);
  fire(recorded("turn-that-fails"));
  recorder.drain(0);
  recorder.observer.sweep(clock.now + 35_000);
  assert.deepEqual(told(), []);
  const next = recorded("turn-that-fails")[0];
  next.event.runId = next.ctx.runId = "next-run";
  fire([{ ...next, at: clock.now + 36_000 }]);
  recorder.drain(0);
  assert.deepEqual(told(), ["error"]);
  recorder.close();
});
