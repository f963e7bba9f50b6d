import assert from "node:assert/strict";
import { test } from "node:test";
import { Sampler } from "../src/sampling.js";
import { eventsOf, ofKind, recorded } from "./helpers.js";

test("with sampling off nothing of a run is told, but what belongs to no run is", () => {
  const events = eventsOf([...recorded("turn-with-tool"), ...recorded("others")], { config: { sample: 0 } });
  assert.deepEqual([...new Set(events.map((event) => event.kind))].sort(), ["cron", "gateway", "message", "session"]);
  assert.ok(events.every((event) => event.run_id === undefined));
});

test("a run with an error is told whole, whatever the share", () => {
  const events = eventsOf(recorded("turn-that-fails"), { config: { sample: 0 } });
  assert.equal(ofKind(events, "run").length, 1);
  assert.equal(ofKind(events, "llm_call").length, 3);
});

test("what came before a late error is told too", () => {
  const sent = [];
  const sampler = new Sampler({ share: 0, maxHeldBytes: 1_000, send: (json) => sent.push(json) });
  sampler.emit("run", "first");
  sampler.emit("run", "second");
  assert.deepEqual(sent, []);
  sampler.failed("run");
  sampler.emit("run", "third");
  assert.deepEqual(sent, ["first", "second", "third"]);
});

test("whole runs are chosen, in about the share that was asked for, and the same each time", () => {
  const choose = () => {
    const sent = [];
    const sampler = new Sampler({ share: 0.25, maxHeldBytes: 1_000_000, send: (json) => sent.push(json) });
    for (let run = 0; run < 4_000; run++) for (const part of ["a", "b"]) sampler.emit(`run-${run}`, `${run}${part}`);
    return sent;
  };
  const sent = choose();
  assert.deepEqual(choose(), sent);
  assert.equal(sent.filter((json) => json.endsWith("a")).length, sent.filter((json) => json.endsWith("b")).length);
  assert.ok(Math.abs(sent.length / 8_000 - 0.25) < 0.03, `${sent.length / 8_000}`);
});

test("what is held is bounded, and given back when its run ends", () => {
  const sampler = new Sampler({ share: 0, maxHeldBytes: 1_000, send: () => {} });
  for (let run = 0; run < 100; run++) sampler.emit(`run-${run}`, "x".repeat(100));
  assert.ok(sampler.heldBytes <= 1_000);
  for (let run = 0; run < 100; run++) sampler.close(`run-${run}`);
  assert.equal(sampler.heldBytes, 0);
  assert.equal(sampler.skipped, 100);
});
