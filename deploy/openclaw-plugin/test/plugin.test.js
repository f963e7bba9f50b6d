import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { HOOKS } from "../src/observer.js";
import { receiver } from "./helpers.js";

const DRIVER = fileURLToPath(new URL("./driver.js", import.meta.url));

/** A process with the plugin in it, as OpenClaw has it: registered several times, ending in its own way. */
async function run(scenario, env) {
  const child = spawn(process.execPath, [DRIVER, scenario], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const out = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => out.push(chunk));
  const began = performance.now();
  const code = await new Promise((done) => child.on("close", done));
  return { code, text: Buffer.concat(out).toString("utf8"), took: performance.now() - began };
}

const kinds = (there) => [...there.stored.values()].map((event) => event.kind).sort();

for (const mode of ["full", "discovery"]) {
  test(`a process that registers three times tells each thing once (hooks heard by mode ${mode})`, async (t) => {
    const there = await receiver();
    t.after(() => there.close());
    const { code, text } = await run("empty", { MODE: mode, OPENCLAW_TRACE_ENDPOINT: there.endpoint });
    assert.equal(code, 0, text);
    assert.deepEqual(kinds(there), ["llm_call", "llm_call", "run", "tool_call"]);
  });
}

test("hooks that two registrations hear are told once", async (t) => {
  const there = await receiver();
  t.after(() => there.close());
  const { code, text } = await run("empty", { MODE: "both", OPENCLAW_TRACE_ENDPOINT: there.endpoint });
  assert.equal(code, 0, text);
  assert.deepEqual(kinds(there), ["llm_call", "llm_call", "run", "tool_call"]);
});

test("a process that ends by process.exit right after the turn still tells all of it", async (t) => {
  const there = await receiver();
  t.after(() => there.close());
  const { code, text } = await run("exit", { OPENCLAW_TRACE_ENDPOINT: there.endpoint });
  assert.equal(code, 3, text);
  assert.deepEqual(kinds(there), ["llm_call", "llm_call", "run", "tool_call"]);
});

test("a hung receiver holds the end of a process for its bound and not longer", async (t) => {
  const there = await receiver(() => "hang");
  t.after(() => there.close());
  const exit = await run("exit", { OPENCLAW_TRACE_ENDPOINT: there.endpoint });
  assert.equal(exit.code, 3, exit.text);
  const idle = await run("idle", {});
  assert.ok(exit.took - idle.took < 1_700, `${exit.took - idle.took} ms`);
  const empty = await run("empty", { OPENCLAW_TRACE_ENDPOINT: there.endpoint });
  assert.equal(empty.code, 0, empty.text);
  assert.ok(empty.took - idle.took < 2_700, `${empty.took - idle.took} ms`);
});

test("a receiver that is away does not hold the end of a process", async () => {
  const there = await receiver();
  await there.close();
  for (const [scenario, code] of [["exit", 3], ["empty", 0]]) {
    const ended = await run(scenario, { OPENCLAW_TRACE_ENDPOINT: there.endpoint });
    assert.equal(ended.code, code, ended.text);
    assert.ok(ended.took < 4_000, `${scenario}: ${ended.took} ms`);
  }
});

test("rubbish in every hook throws nothing, returns nothing and ends in events", async (t) => {
  const there = await receiver();
  t.after(() => there.close());
  const { code, text } = await run("rubbish", { OPENCLAW_TRACE_ENDPOINT: there.endpoint });
  assert.equal(code, 0, text);
  assert.match(text, /no handler threw or answered/);
  assert.ok(there.stored.size > HOOKS.length);
});

test("registering alone opens nothing, says nothing, and lets the process end", async (t) => {
  const there = await receiver();
  t.after(() => there.close());
  const { code, text, took } = await run("idle", { OPENCLAW_TRACE_ENDPOINT: there.endpoint });
  assert.equal(code, 0);
  assert.equal(text, "");
  assert.equal(there.requests.length, 0);
  assert.ok(took < 3_000);
});

test("a bad setting is said once in a process, whatever the number of registrations", async (t) => {
  const { text } = await run("idle", { OPENCLAW_TRACE_SAMPLE: "often" });
  assert.equal(text.match(/OPENCLAW_TRACE_SAMPLE/g)?.length, 1, text);
});

test("other settings at a new registration move what waits to the new address", async (t) => {
  const [first, second] = [await receiver(() => ({ status: 503 })), await receiver()];
  t.after(() => Promise.all([first.close(), second.close()]));
  const { code, text } = await run("moved", { FIRST: first.endpoint, SECOND: second.endpoint });
  assert.equal(code, 0, text);
  assert.deepEqual(kinds(second), ["gateway", "llm_call", "llm_call", "run", "tool_call"]);
});
