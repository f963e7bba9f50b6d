import assert from "node:assert/strict";
import { test } from "node:test";
import { boundedJson, boundedText, byteLength } from "../src/json.js";

const parsed = (value, maxBytes = 10_000) => JSON.parse(boundedJson(value, maxBytes).json);

test("ordinary values are as JSON.stringify has them", () => {
  for (const value of [null, true, 0, -1.5, "text", [], {}, { a: [1, { b: "ü€😀" }], c: null }, [undefined, 1], { gone: undefined, fn() {} }, new Date(0), NaN]) {
    assert.deepEqual(parsed(value), JSON.parse(JSON.stringify(value)));
  }
});

test("what JSON cannot hold becomes text that says so", () => {
  const cyclic = { name: "loop" };
  cyclic.self = cyclic;
  assert.deepEqual(parsed(cyclic), { name: "loop", self: "[circular]" });
  assert.equal(parsed(12345678901234567890n), "12345678901234567890");
  assert.deepEqual(parsed({ get bad() { throw new Error("no"); } }), { bad: "[unreadable]" });
  assert.equal(parsed(new Proxy({}, { ownKeys() { throw new Error("no"); } })), "[unreadable]");
  assert.deepEqual(parsed({ data: new Uint8Array(7) }), { data: "[binary: 7 bytes]" });
  assert.deepEqual(parsed(new Map([["a", new Set([1])]])), { a: [1] });
  assert.equal(parsed(new Error("broken")).message, "broken");
  assert.equal(parsed(new Date(NaN)), null);
  assert.equal(boundedJson(() => {}, 10).json, "null");
});

test("the same object twice is not a cycle", () => {
  const shared = { x: 1 };
  assert.deepEqual(parsed([shared, shared]), [{ x: 1 }, { x: 1 }]);
});

test("a text beyond the bound is cut at a character and says how long it was", () => {
  const { json, truncated } = boundedJson("€".repeat(1_000), 100);
  assert.equal(truncated, true);
  assert.match(JSON.parse(json), /^€{33}…\[truncated: 3000 bytes\]$/);
  assert.match(boundedText("😀".repeat(100), 10), /^😀😀…\[truncated: 400 bytes\]$/);
});

test("the bound holds for many small things as for one large", () => {
  const wide = Array.from({ length: 100_000 }, (_, index) => ({ index, text: "some text" }));
  const deep = {};
  let at = deep;
  for (let depth = 0; depth < 10_000; depth++) at = at.next = {};
  const keys = Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`a key that is rather long ${index}`, index]));
  for (const value of [wide, deep, keys, "x".repeat(50_000_000), [["y".repeat(9_000), "z".repeat(9_000)]]]) {
    const { json, truncated } = boundedJson(value, 10_000);
    assert.equal(truncated, true);
    assert.ok(byteLength(json) < 11_000, `${byteLength(json)} bytes`);
    JSON.parse(json);
  }
});

test("a text of characters that need escapes stays within the bound too", () => {
  for (const text of ["\0".repeat(100_000), '"\\\n'.repeat(50_000), `${"a".repeat(9_000)}${"\0".repeat(9_000)}`]) {
    const { json, truncated } = boundedJson({ text }, 10_000);
    assert.equal(truncated, true);
    assert.ok(byteLength(json) <= 10_200, `${byteLength(json)} bytes`);
    assert.ok(byteLength(json) > 1_000);
    assert.match(JSON.parse(json).text, /truncated: \d+ bytes/);
  }
});

test("lone surrogates become replacement characters", () => {
  assert.equal(parsed("a\ud800b"), "a\ufffdb");
  assert.deepEqual(parsed({ "k\udc00": 1 }), { "k\ufffd": 1 });
  assert.ok(boundedText("\ud83d\ude00", 4).isWellFormed());
});
