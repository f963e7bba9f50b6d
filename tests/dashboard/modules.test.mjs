// The dashboard's own reasoning, without a browser: trees, texts, numbers, conversations.

import assert from "node:assert/strict";
import { test } from "node:test";

const load = (name) => import(`./page/lib/${name}.js`);

test("a tree holds every event once, whatever its parents say", async () => {
  const { buildTree, shown } = await load("tree");
  const at = (index) => new Date(1e12 + index * 10).toISOString();
  const spans = [["a"], ["b", "a"], ["c", "b"], ["d", "e"], ["e", "d"], ["f", "f"], ["g", "gone"], ["c", "a"], [undefined, "c"], ["h", "i"], ["i", "j"], ["j", "h"], ["k", "j"]];
  const tree = buildTree(spans.map(([span_id, parent_span_id], index) => ({ span_id, parent_span_id, timestamp: at(index), duration_ms: 5, kind: "span" })));
  assert.deepEqual([...tree.order].sort((a, b) => a - b), spans.map((_, index) => index));
  for (const [index, parent] of tree.parent.entries()) {
    if (parent >= 0) assert.equal(tree.depth[index], tree.depth[parent] + 1);
    assert.ok(tree.size[index] >= 1);
  }
  const roots = [...tree.order].filter((index) => tree.parent[index] < 0);
  assert.equal(roots.reduce((sum, root) => sum + tree.size[root], 0), spans.length);
  assert.deepEqual(shown(tree, new Set([0])).includes(1), false);
  assert.equal(tree.depth[2], 2);
});

test("a hundred thousand events in one chain, and below one parent, make a tree", async () => {
  const { buildTree } = await load("tree");
  const chain = Array.from({ length: 100_000 }, (_, index) => ({ span_id: `s${index}`, parent_span_id: `s${index - 1}`, timestamp: "2026-01-01T00:00:00Z", kind: "span" }));
  assert.equal(buildTree(chain).depth[99_999], 99_999);
  const wide = chain.map((span, index) => ({ ...span, parent_span_id: index > 0 ? "s0" : undefined }));
  assert.equal(buildTree(wide).size[0], 100_000);
});

test("a retry is the same thing after it failed, under the same parent", async () => {
  const { buildTree } = await load("tree");
  const call = (status, name = "m", parent = "r") => ({ kind: "llm_call", name, status, parent_span_id: parent, timestamp: "2026-01-01T00:00:00Z" });
  const spans = [{ span_id: "r", kind: "run", timestamp: "2026-01-01T00:00:00Z" }, { span_id: "q", kind: "run", timestamp: "2026-01-01T00:00:00Z" }, call("error"), call("error"), call("ok"), call("ok"), call("error", "n"), call("ok", "n", "q")];
  assert.deepEqual([...buildTree(spans).attempt], [0, 0, 0, 1, 2, 0, 0, 0]);
});

test("time is counted once, and together it is what the run took", async () => {
  const { buildTree, timeSpent } = await load("tree");
  const span = (kind, from, length) => ({ kind, timestamp: new Date(1e12 + from).toISOString(), duration_ms: length });
  const spent = timeSpent(buildTree([span("run", 0, 100), span("llm_call", 0, 30), span("tool_call", 20, 30), span("tool_call", 25, 10), span("llm_call", 60, 10)]));
  assert.deepEqual(spent, { llm_call: 40, tool_call: 20, other: 40 });
});

test("what cannot be seen is shown by its number", async () => {
  const { beginning, hits, line, visible } = await load("text");
  assert.equal(line("a\u001b[31mred\u0007\nb\u202ec", 100), "a\\u{1b}[31mred\\u{7} b\\u{202e}c");
  assert.equal(line("äöü", 2), "äö…");
  assert.equal(line(undefined), "");
  assert.equal(visible("a\r\nb\rc\td\u2066\u009b"), "a\nb\\u{d}c\td\\u{2066}\\u{9b}");
  assert.equal(beginning("ab😀", 3), "ab");
  assert.deepEqual(hits("One one", "ONE").filter(({ hit }) => hit).length, 2);
});

test("numbers read as people write them", async () => {
  const { bytes, costOf, duration, money, percent, tokens } = await load("format");
  assert.deepEqual([5, 999, 1500, 65_000, 7_260_000, undefined].map(duration), ["5 ms", "999 ms", "1.5 s", "1 m 05 s", "2 h 01 m", "–"]);
  assert.deepEqual([0, 0.0135, 0.000012, 1.5, 1234.5, null].map(money), ["$0", "$0.0135", "$0.000012", "$1.50", "$1,234.50", "–"]);
  assert.deepEqual([0, 950, 1000, 12_345, 999_600, 4_560_000].map(tokens), ["0", "950", "1k", "12.3k", "1M", "4.56M"]);
  assert.deepEqual([10, 1536, 536_870_912].map(bytes), ["10 B", "1.5 KiB", "512 MiB"]);
  assert.deepEqual([0, 0.0001, 0.05, 0.5].map(percent), ["0 %", "<0.1 %", "5.0 %", "50 %"]);
  assert.equal(costOf({ cost_usd: 0, unpriced: 2 }), "no price");
});

test("conversations are known in the shapes that are sent", async () => {
  const { conversation, gist, readBody } = await load("messages");
  const roles = (body) => conversation(readBody(body))?.messages.map(({ role, parts }) => `${role}:${parts.map(({ type }) => type).join("+")}`);
  assert.deepEqual(roles({ prompt: "hi", system_prompt: "be kind", messages_left_out: 1, messages: [{ role: "user", content: "x" }] }), ["system:text", "user:text", "user:text"]);
  assert.deepEqual(roles({ role: "assistant", content: [{ type: "thinking", thinking: "t" }, { type: "toolCall", name: "exec", arguments: {} }] }), ["assistant:thinking+call"]);
  assert.deepEqual(roles([{ role: "user", parts: [{ type: "text", content: "x" }] }, { role: "assistant", content: null, tool_calls: [{ function: { name: "f", arguments: "{}" } }] }]), ["user:text", "assistant:call"]);
  assert.deepEqual(roles('[{"role":"user","content":[{"type":"tool_result","content":"x"}]}]'), ["user:result"]);
  assert.equal(conversation({ path: "notes.md" }), null);
  assert.equal(conversation(["a"]), null);
  assert.equal(conversation({ messages: "none" }), null);
  assert.equal(gist('{"role":"assistant","content":[{"type":"text","text":"It is \\"done\\" and'), 'It is "done" and');
});

test("the sidecar's figures are told in words, what a person must do first", async () => {
  const { verdicts } = await load("health");
  const status = (metrics, more) => ({ phase: "running", refusing: null, store: { rollup_behind: 0 }, metrics: Object.entries(metrics).map(([name, value]) => ({ name, component: "x", labels: {}, value })), ...more });
  assert.deepEqual(verdicts(status({})).map(({ level }) => level), ["ok"]);
  assert.deepEqual(verdicts(status({ refused_total: 3 })).map(({ level }) => level), ["ok", "watch"]);
  assert.deepEqual(verdicts(status({ refused_total: 3, queue_lost_total: 1 })).map(({ level }) => level), ["act", "watch"]);
  assert.equal(verdicts(status({}, { refusing: "no room on the disk" }))[0].text, "no room on the disk");
});

test("an event stream is read however it is cut", async () => {
  const { messages } = await load("stream");
  const text = 'retry: 2000\n: connected\n\nevent: event\nid: 7\ndata: {"a":"ä"}\n\n: here\n\nevent: event\r\nid: 8\r\ndata: one\r\ndata: two\r\n\r\nid: 9\ndata: not ended';
  for (const size of [1, 2, 3, 7, 1000]) {
    const bytes = new TextEncoder().encode(text);
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    const seen = [];
    for await (const { id, data } of messages(body)) seen.push([id, data]);
    assert.deepEqual(seen, [["7", '{"a":"ä"}'], ["8", "one\ntwo"]], `pieces of ${size}`);
  }
});
