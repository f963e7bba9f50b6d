import assert from "node:assert/strict";
import { test } from "node:test";
import { readRetryAfter } from "../src/sender.js";
import { ofKind, receiver, recorded, recorderFor } from "./helpers.js";

const note = (recorder, clock, text = "x") => {
  recorder.note("message_received", { content: text, from: "someone" }, { channelId: "test" });
};

async function settled() {
  await new Promise((done) => setImmediate(done));
  await new Promise((done) => setImmediate(done));
}

test("a whole turn arrives as one array with the token", async (t) => {
  const there = await receiver();
  t.after(() => there.close());
  const { recorder, fire } = recorderFor(there.endpoint, { config: { token: "a-test-token" } });
  t.after(() => recorder.close());
  fire(recorded("turn-with-tool"));
  recorder.drain(0);
  recorder.observer.closeAll(recorder.now());
  await recorder.drain(2_000);
  assert.equal(there.stored.size, 4);
  const [first] = there.requests;
  assert.equal(first.headers.authorization, "Bearer a-test-token");
  assert.equal(first.headers["content-type"], "application/json");
  assert.equal(Number(first.headers["content-length"]), first.bytes);
});

test("429 is obeyed: nothing is sent before Retry-After is over, and then the same events", async (t) => {
  const there = await receiver((n) => (n === 1 ? { status: 429, headers: { "retry-after": "1" } } : { status: 200 }));
  t.after(() => there.close());
  const { recorder, clock, log } = recorderFor(there.endpoint);
  t.after(() => recorder.close());
  note(recorder, clock);
  await there.until(() => there.requests.length === 2, "the second request");
  const [refused, taken] = there.requests;
  assert.ok(taken.at - refused.at >= 950, `${taken.at - refused.at} ms`);
  assert.deepEqual(taken.events, refused.events);
  assert.deepEqual(log, []); // busy is not away
});

test("Retry-After is read as seconds and as a date", () => {
  assert.equal(readRetryAfter("3"), 3_000);
  assert.equal(readRetryAfter("Wed, 21 Oct 2026 07:28:05 GMT", Date.parse("2026-10-21T07:28:00Z")), 5_000);
  assert.equal(readRetryAfter("soon"), undefined);
  assert.equal(readRetryAfter(undefined), undefined);
});

test("a receiver that never answers is given up after the timeout, and the same events go again", async (t) => {
  let hang = true;
  const there = await receiver(() => (hang ? "hang" : { status: 200 }));
  t.after(() => there.close());
  const { recorder, clock, log } = recorderFor(there.endpoint, { limits: { sender: { requestTimeoutMs: 50 } } });
  t.after(() => recorder.close());
  note(recorder, clock);
  await there.until(() => there.requests.length === 2, "a second request");
  hang = false;
  await there.until(() => recorder.sender.isIdle, "confirmation");
  const ids = there.requests.map(({ events }) => events.map((event) => event.trace_id).join());
  assert.equal(new Set(ids).size, 1);
  assert.equal(there.stored.size, 1);
  assert.equal(log.length, 2);
});

test("one request at a time, however many events come", async (t) => {
  let open = 0;
  let most = 0;
  const there = await receiver(() => {
    most = Math.max(most, ++open);
    open--;
    return { status: 200 };
  });
  t.after(() => there.close());
  const { recorder, clock } = recorderFor(there.endpoint, { limits: { sender: { batchEvents: 10 } } });
  t.after(() => recorder.close());
  for (let n = 0; n < 500; n++) note(recorder, clock, `message ${n}`);
  await there.until(() => there.stored.size === 500, "500 events");
  assert.equal(most, 1);
  assert.ok(there.requests.every(({ events }) => events.length <= 10));
  assert.deepEqual(there.requests.flatMap(({ events }) => events.map((event) => event.input)), Array.from({ length: 500 }, (_, n) => `message ${n}`));
});

test("away is said once and back is said once, and what waited arrives", async (t) => {
  const first = await receiver();
  const { port, endpoint } = first;
  await first.close();
  const { recorder, clock, log } = recorderFor(endpoint, { config: { token: "a-test-token" } });
  t.after(() => recorder.close());
  for (let n = 0; n < 5; n++) note(recorder, clock);
  await settled();
  while (recorder.sender.failures < 3) await new Promise((done) => setTimeout(done, 5));
  assert.equal(log.length, 1);
  assert.match(log[0], /is away \(ECONNREFUSED\)/);
  const again = await receiver(undefined, port);
  t.after(() => again.close());
  await again.until(() => again.stored.size === 5, "5 events");
  await again.until(() => log.length === 2, "the second line");
  assert.match(log[1], /is back/);
  assert.ok(!log.join().includes("a-test-token"));
});

test("an event whose answer was lost is sent again under the same trace_id", async (t) => {
  const there = await receiver((n) => (n === 1 ? "cut" : { status: 200, body: { accepted: 1, duplicates: 1, rejected: [] } }));
  t.after(() => there.close());
  const { recorder, clock } = recorderFor(there.endpoint);
  t.after(() => recorder.close());
  note(recorder, clock);
  await there.until(() => recorder.sender.isIdle && there.requests.length === 2, "the second request");
  assert.equal(there.requests[0].events[0].trace_id, there.requests[1].events[0].trace_id);
  assert.equal(there.stored.size, 1);
  assert.equal(recorder.sender.stats.duplicates, 1);
});

test("a connection that was closed while idle is not taken for a sidecar that is away", async (t) => {
  // The receiver takes one request a connection; for the client the second is into a closed one.
  const there = await receiver((_, __, request) => {
    request.socket.taken = (request.socket.taken ?? 0) + 1;
    return request.socket.taken > 1 ? "reset" : { status: 200 };
  });
  t.after(() => there.close());
  const { recorder, clock, log } = recorderFor(there.endpoint);
  t.after(() => recorder.close());
  for (let n = 1; n <= 3; n++) {
    note(recorder, clock);
    await there.until(() => there.stored.size === n && recorder.sender.isIdle, `event ${n}`);
  }
  assert.ok(there.requests.length > 3, "no connection was used twice");
  assert.deepEqual(log, []);
  assert.equal(recorder.sender.failures, 0);
});

test("413 halves the batch until the one too large stands alone, and drops only that", async (t) => {
  const there = await receiver((_, events) => ({ status: events.some((event) => event.input === "too large") ? 413 : 200 }));
  t.after(() => there.close());
  const { recorder, clock, log } = recorderFor(there.endpoint);
  t.after(() => recorder.close());
  for (let n = 0; n < 20; n++) note(recorder, clock, n === 13 ? "too large" : `message ${n}`);
  await there.until(() => ofKind([...there.stored.values()], "error").length === 1, "the count of what was dropped");
  assert.equal(ofKind([...there.stored.values()], "message").length, 19);
  const [told] = ofKind([...there.stored.values()], "error");
  assert.equal(told.attributes["openclaw.trace_plugin.dropped.too_large"], 1);
  assert.equal(log.length, 1);
});

for (const status of [302, 400, 401, 403, 404, 415, 422]) {
  test(`status ${status} drops the batch at once and is counted`, async (t) => {
    const there = await receiver((n) => ({ status: n === 1 ? status : 200 }));
    t.after(() => there.close());
    const { recorder, clock, log } = recorderFor(there.endpoint, { config: { token: "a-test-token" } });
    t.after(() => recorder.close());
    for (let n = 0; n < 3; n++) note(recorder, clock);
    await there.until(() => there.requests.length === 1 && recorder.sender.isIdle, "the refusal");
    note(recorder, clock, "later");
    await there.until(() => ofKind([...there.stored.values()], "error").length === 1, "the count of what was dropped");
    assert.equal(there.requests[0].events.length, 3);
    const [told] = ofKind([...there.stored.values()], "error");
    assert.equal(told.attributes["openclaw.trace_plugin.dropped"], 3);
    assert.equal(told.attributes[`openclaw.trace_plugin.dropped.refused_${status}`], 3);
    assert.equal(log.length, 1);
    assert.ok(!log[0].includes("a-test-token"));
  });
}

for (const status of [408, 500, 502, 503]) {
  test(`status ${status} is tried again`, async (t) => {
    const there = await receiver((n) => ({ status: n <= 2 ? status : 200 }));
    t.after(() => there.close());
    const { recorder, clock } = recorderFor(there.endpoint);
    t.after(() => recorder.close());
    note(recorder, clock);
    await there.until(() => there.stored.size === 1, "the event");
    assert.equal(there.requests.length, 3);
  });
}

test("events that the sidecar rejects are counted and not sent again", async (t) => {
  const there = await receiver((n, events) => ({ status: 200, body: n === 1 ? { accepted: events.length - 1, duplicates: 0, rejected: [{ index: 0, error: "kind is missing" }] } : undefined }));
  t.after(() => there.close());
  const { recorder, clock } = recorderFor(there.endpoint);
  t.after(() => recorder.close());
  note(recorder, clock);
  note(recorder, clock);
  await there.until(() => ofKind([...there.stored.values()], "error").length === 1, "the count");
  assert.equal(there.requests[0].events.length, 2);
  assert.equal(ofKind([...there.stored.values()], "error")[0].attributes["openclaw.trace_plugin.dropped.rejected"], 1);
});

test("the queue is bounded by events: the oldest go, and their number is told later", async (t) => {
  let up = false;
  const there = await receiver(() => ({ status: up ? 200 : 503 }));
  t.after(() => there.close());
  const { recorder, clock } = recorderFor(there.endpoint, { config: { maxQueueEvents: 50 } });
  t.after(() => recorder.close());
  for (let n = 0; n < 200; n++) {
    note(recorder, clock, `message ${n}`);
    if (n % 20 === 0) await settled();
  }
  await settled();
  assert.equal(recorder.sender.queue.length, 50);
  up = true;
  await there.until(() => ofKind([...there.stored.values()], "error").length > 0 && recorder.sender.isIdle, "the count");
  const messages = ofKind([...there.stored.values()], "message").map((event) => event.input);
  const told = ofKind([...there.stored.values()], "error").reduce((sum, event) => sum + event.attributes["openclaw.trace_plugin.dropped.queue_full"], 0);
  assert.equal(messages.length + told, 200);
  assert.ok(messages.includes("message 199"));
  assert.ok(!messages.includes("message 0"));
});

test("the queue is bounded by bytes", () => {
  const { recorder, clock } = recorderFor("http://127.0.0.1:1", { config: { maxQueueBytes: 200_000 } });
  for (let n = 0; n < 100; n++) note(recorder, clock, "y".repeat(10_000));
  recorder.drain(0);
  assert.ok(recorder.sender.bytes <= 200_000);
  assert.ok(recorder.sender.queue.length >= 15);
  assert.equal(recorder.sender.queue.reduce((sum, item) => sum + item.bytes, 0), recorder.sender.bytes);
  assert.equal(recorder.sender.stats.dropped + recorder.sender.queue.length, 100);
  recorder.close();
});

test("an event that leaves the queue while its request is under way is not counted as lost when it arrived", async (t) => {
  const there = await receiver();
  t.after(() => there.close());
  const { recorder, clock } = recorderFor(there.endpoint, { config: { maxQueueEvents: 10 } });
  t.after(() => recorder.close());
  for (let n = 0; n < 10; n++) note(recorder, clock, `first ${n}`);
  await settled();
  recorder.sender.flush();
  while (!recorder.sender.request) await new Promise((done) => setTimeout(done, 1));
  for (let n = 0; n < 10; n++) recorder.note("message_received", { content: `second ${n}` }, {});
  recorder.drain(0);
  await there.until(() => there.stored.size === 20 && recorder.sender.isIdle, "all events");
  assert.equal(recorder.sender.stats.dropped, 0);
  assert.equal(recorder.sender.bytes, 0);
});

test("drain sends everything, backoff or not, and ends at its bound", async (t) => {
  let up = false;
  const there = await receiver(() => (up ? { status: 200 } : { status: 500 }));
  t.after(() => there.close());
  const { recorder, clock } = recorderFor(there.endpoint, { limits: { sender: { retryBaseMs: 60_000, retryMaxMs: 60_000 } } });
  t.after(() => recorder.close());
  note(recorder, clock);
  await there.until(() => recorder.sender.failures === 1, "the first refusal");
  up = true;
  await recorder.drain(2_000);
  assert.equal(there.stored.size, 1);
});

test("drain before a hung receiver ends in time", async (t) => {
  const there = await receiver(() => "hang");
  t.after(() => there.close());
  const { recorder, clock } = recorderFor(there.endpoint);
  t.after(() => recorder.close());
  note(recorder, clock);
  const began = performance.now();
  await recorder.drain(200);
  const took = performance.now() - began;
  assert.ok(took >= 190 && took < 1_000, `${took} ms`);
  assert.equal(recorder.sender.queue.length, 1);
});

test("gateway_stop and a session that ends with the process are waited for; other hooks are not", async (t) => {
  const there = await receiver();
  t.after(() => there.close());
  const { recorder, fire } = recorderFor(there.endpoint);
  t.after(() => recorder.close());
  fire(recorded("turn-with-tool"));
  assert.equal(recorder.note("session_end", { sessionId: "s3", reason: "idle" }, {}), undefined);
  assert.equal(recorder.note("agent_end", {}, {}), undefined);
  await recorder.note("gateway_stop", { reason: "gateway stopping" }, {});
  assert.ok(ofKind([...there.stored.values()], "run").length === 1);
  assert.ok(ofKind([...there.stored.values()], "gateway").length === 1);
  await recorder.note("session_end", { sessionId: "s3", reason: "shutdown" }, {});
  assert.equal(ofKind([...there.stored.values()], "session").length, 2);
});
