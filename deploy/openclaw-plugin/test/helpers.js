// What the tests share: recorded hooks, a receiver on a real socket, a recorder with a clock of its own.

import { readFileSync } from "node:fs";
import http from "node:http";
import { Recorder } from "../src/recorder.js";
import { readSettings } from "../src/settings.js";

/** Hooks of one real turn, as fired by OpenClaw 2026.9.6: fresh objects each time. */
export function recorded(name) {
  const text = readFileSync(new URL(`./${name}.jsonl`, import.meta.url), "utf8");
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

/** A recorder whose clock stands where the hooks' records say, and the log it wrote. */
export function recorderFor(endpoint, { config = {}, limits = {} } = {}) {
  const { settings } = readSettings({ endpoint, ...config }, {});
  const log = [];
  const clock = { now: 0 };
  const recorder = new Recorder({
    settings,
    logger: { info: (line) => log.push(line), warn: (line) => log.push(line) },
    limits: { sender: { flushAfterMs: 5, retryBaseMs: 10, retryMaxMs: 40, ...limits.sender }, runs: limits.runs },
    now: () => clock.now,
  });
  const fire = (records) => {
    for (const { at, hook, event, ctx } of records) {
      clock.now = at;
      recorder.note(hook, event, ctx);
    }
  };
  return { recorder, log, clock, fire };
}

/** Everything a finished process would have told, without a receiver. */
export function eventsOf(records, options = {}) {
  const { recorder, fire, clock } = recorderFor("http://127.0.0.1:1", options);
  fire(records);
  recorder.drain(0);
  recorder.observer.closeAll(clock.now);
  const events = recorder.sender.unsent().map((json) => JSON.parse(json));
  recorder.close();
  return events;
}

/**
 * A receiver on loopback. `answers` decides: a function of (request number, events) to
 * {status, headers, body}, or "hang" for no answer, or "cut" to take the events and close the
 * connection, or "reset" to close it without having taken them.
 */
export async function receiver(answer = () => ({ status: 200 }), port = 0) {
  const requests = [];
  const stored = new Map();
  const sockets = new Set();
  const waiting = [];
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString("utf8");
      const events = JSON.parse(body);
      requests.push({ events, headers: request.headers, at: performance.now(), bytes: body.length });
      const told = answer(requests.length, events, request);
      const take = () => {
        for (const event of events) stored.set(event.trace_id, event);
      };
      if (told === "hang") {
        // no answer
      } else if (told === "reset") {
        request.socket.destroy();
      } else if (told === "cut") {
        take();
        request.socket.destroy();
      } else {
        if (told.status === 200) take();
        response.writeHead(told.status, { "content-type": "application/json", ...told.headers });
        response.end(JSON.stringify(told.body ?? { accepted: events.length, duplicates: 0, rejected: [] }));
      }
      for (const wake of waiting.splice(0)) wake();
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise((ready) => server.listen(port, "127.0.0.1", ready));
  return {
    endpoint: `http://127.0.0.1:${server.address().port}`,
    port: server.address().port,
    requests,
    stored,
    /** Waits until `condition` holds, looking after each request and now and then. */
    async until(condition, what = "condition", timeoutMs = 5_000) {
      const deadline = performance.now() + timeoutMs;
      while (!condition()) {
        if (performance.now() > deadline) throw new Error(`timed out waiting for ${what}; ${requests.length} requests so far`);
        await Promise.race([new Promise((wake) => waiting.push(wake)), new Promise((wake) => setTimeout(wake, 10))]);
      }
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((done) => server.close(done));
    },
  };
}

export function ofKind(events, kind) {
  return events.filter((event) => event.kind === kind);
}
