// What is still unsent when the process ends by process.exit().
//
// `openclaw agent --local` ends so, some 90 ms after `agent_end`, and with an 'exit' event no
// promise is awaited any more. A worker thread has an event loop of its own: it makes one request
// while this thread waits for it, by the clock and not longer. The reply has been written by then.
// What a request in flight had brought already is a duplicate to the sidecar.

import { Worker } from "node:worker_threads";
import { byteLength } from "./json.js";

const CODE = `
const { workerData } = require("node:worker_threads");
const { request } = require(workerData.secure ? "node:https" : "node:http");
const flag = new Int32Array(workerData.flag);
let left = workerData.bodies.length;
const done = (code) => { Atomics.store(flag, 0, code); Atomics.notify(flag, 0); };
const next = () => {
  if (left === 0) return done(1);
  const body = workerData.bodies[workerData.bodies.length - left--];
  const sent = request(workerData.url, { method: "POST", headers: workerData.headers, timeout: workerData.timeoutMs, agent: false }, (answer) => {
    answer.resume();
    answer.on("end", next);
  });
  sent.on("error", () => done(2));
  sent.on("timeout", () => sent.destroy());
  sent.end(body);
};
next();
`;

/**
 * Sends events from an 'exit' handler. Blocks for `timeoutMs` at most.
 * @returns {boolean} whether every request was answered
 */
export function sendBeforeExit({ url, headers, events, timeoutMs, batchBytes = 512 << 10 }) {
  const bodies = [];
  let batch = [];
  let bytes = 0;
  for (const json of events) {
    const size = byteLength(json) + 1;
    if (batch.length > 0 && (batch.length >= 200 || bytes + size > batchBytes)) {
      bodies.push(`[${batch.join(",")}]`);
      batch = [];
      bytes = 0;
    }
    batch.push(json);
    bytes += size;
  }
  if (batch.length > 0) bodies.push(`[${batch.join(",")}]`);
  if (bodies.length === 0) return true;
  const flag = new SharedArrayBuffer(4);
  const view = new Int32Array(flag);
  const worker = new Worker(CODE, {
    eval: true,
    execArgv: [],
    env: {},
    workerData: { flag, url: String(url), secure: url.protocol === "https:", headers, bodies, timeoutMs },
  });
  worker.unref();
  Atomics.wait(view, 0, 0, timeoutMs);
  return Atomics.load(view, 0) === 1;
}
