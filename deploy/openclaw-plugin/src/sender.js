// The way to the sidecar: a bounded queue and one request at a time.
//
// 1. Memory is bounded by events and by bytes. When it is full the oldest event goes; what went is
//    counted by reason, and the count is sent as an event of its own once the sidecar answers.
// 2. An event keeps its JSON, and with it its `trace_id`, until the sidecar has confirmed it. So what
//    is sent again after a lost answer is a duplicate to the sidecar, not a second event.
// 3. 429 and 503 wait for `Retry-After`; other failures of the way wait exponentially, with jitter.
//    413 halves the batch. Every other 4xx (and 3xx: events are for one address) drops it: the same
//    bytes would be refused again.
// 4. Nothing here keeps the process alive, but for `drain`, which is bounded.
//
// node:http and not fetch: a fetch dispatcher may be replaced by its host (a proxy, for one), and
// what is told to the sidecar is for the loopback only.

import http from "node:http";
import https from "node:https";
import { byteLength } from "./json.js";

const LIMITS = {
  batchEvents: 200, // the sidecar takes 1,000 a request and has 512 in flight
  batchBytes: 512 << 10, // the sidecar takes 1 MiB a request
  eventBytes: 1_000_000,
  flushAfterMs: 500, // an event waits this long for company
  requestTimeoutMs: 5_000,
  retryBaseMs: 500,
  retryMaxMs: 30_000,
  retryAfterMaxMs: 300_000,
  answerBytes: 256 << 10,
};

export class Sender {
  /**
   * @param {object} options
   * @param {string} options.endpoint
   * @param {string} [options.token]
   * @param {number} options.maxQueueEvents
   * @param {number} options.maxQueueBytes
   * @param {{info: Function, warn: Function}} options.logger
   * @param {(dropped: Record<string, number>) => string} options.describeDropped JSON of the event that tells what was dropped
   * @param {Partial<typeof LIMITS>} [options.limits]
   * @param {() => number} [options.random]
   */
  constructor(options) {
    this.limits = { ...LIMITS, ...options.limits };
    this.maxEvents = options.maxQueueEvents;
    this.maxBytes = options.maxQueueBytes;
    this.logger = options.logger;
    this.describeDropped = options.describeDropped;
    this.random = options.random ?? Math.random;
    this.url = new URL(`${options.endpoint}/v1/events`);
    this.headers = { "content-type": "application/json" };
    if (options.token) this.headers.authorization = `Bearer ${options.token}`;
    this.transport = this.url.protocol === "https:" ? https : http;
    // The sidecar closes a connection that is idle for 60 s; to be the first avoids a request into a closing one.
    this.agent = new this.transport.Agent({ keepAlive: true, maxSockets: 1, timeout: 30_000 });

    /** @type {{json: string, bytes: number, sending: boolean, dropped?: Record<string, number>}[]} */
    this.queue = [];
    this.bytes = 0;
    this.batchLimit = this.limits.batchEvents;
    this.failures = 0;
    this.notBefore = 0; // monotonic time before which the sidecar asked, or the backoff says, to be left alone
    this.request = null;
    this.timer = null;
    this.timerAt = Infinity;
    this.draining = null;
    this.away = false;
    this.refused = new Set(); // statuses already told
    /** What was dropped and not yet told to the sidecar, by reason. */
    this.dropped = {};
    this.stats = { accepted: 0, duplicates: 0, dropped: 0, requests: 0 };
  }

  /** Takes one event as JSON. Never throws, never waits. */
  push(json) {
    this.#enqueue({ json, bytes: byteLength(json), sending: false });
    const full = this.queue.length >= this.batchLimit || this.bytes >= this.limits.batchBytes;
    this.#schedule(full ? 0 : this.limits.flushAfterMs);
  }

  /** Counts events that were lost before they got here. */
  countDropped(reason, count = 1) {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + count;
    this.stats.dropped += count;
  }

  /** Sends what waits without waiting for company. */
  flush() {
    if (this.queue.length > 0) this.#schedule(0);
  }

  get isIdle() {
    return this.queue.length === 0;
  }

  /** Sends what waits, backoff or not, until all is confirmed or the time is over. Resolves with what is left. */
  drain(timeoutMs) {
    const deadline = performance.now() + timeoutMs;
    if (this.draining) {
      this.draining.deadline = Math.max(this.draining.deadline, deadline);
      this.#armDeadline();
      return this.draining.promise;
    }
    if (this.isIdle) return Promise.resolve(0);
    let resolve;
    const promise = new Promise((done) => (resolve = done));
    this.draining = { deadline, promise, resolve, timer: null };
    this.#armDeadline();
    this.request?.socket?.ref();
    this.notBefore = 0;
    this.#schedule(0);
    return promise;
  }

  /** Everything unconfirmed, oldest first, for a last attempt by other means. */
  unsent() {
    return this.queue.map((item) => item.json);
  }

  /** Ends timers and the connection; what waits is kept in memory and goes nowhere. */
  close() {
    clearTimeout(this.timer);
    this.timer = null;
    this.closed = true;
    this.request?.destroy();
    this.agent.destroy();
    this.#endDrain();
  }

  #enqueue(item) {
    if (item.bytes > this.limits.eventBytes || item.bytes > this.maxBytes) return this.#drop(item, "too_large");
    this.queue.push(item);
    this.bytes += item.bytes;
    while (this.queue.length > this.maxEvents || this.bytes > this.maxBytes) this.#drop(this.#shift(), "queue_full");
  }

  #shift() {
    const item = this.queue.shift();
    this.bytes -= item.bytes;
    return item;
  }

  #drop(item, reason) {
    // The event that tells of losses stands for them: with it lost, they are untold again.
    if (item.dropped) {
      for (const [why, count] of Object.entries(item.dropped)) this.dropped[why] = (this.dropped[why] ?? 0) + count;
      return;
    }
    if (item.sending) item.lostAs = reason; // counted when its request has ended: it may yet be confirmed
    else this.countDropped(reason);
  }

  #schedule(delayMs) {
    if (this.closed || this.request) return; // a request that ends looks at the queue itself
    const now = performance.now();
    const at = Math.max(now + delayMs, this.notBefore);
    if (this.timer && this.timerAt <= at) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.#send();
    }, Math.max(0, at - now));
    if (!this.draining) this.timer.unref();
  }

  #send() {
    if (this.request || this.closed) return;
    if (this.queue.length === 0) return this.#endDrain();
    const batch = [];
    let bytes = 2;
    for (const item of this.queue) {
      if (batch.length > 0 && (batch.length >= this.batchLimit || bytes + item.bytes + 1 > this.limits.batchBytes)) break;
      batch.push(item);
      bytes += item.bytes + 1;
    }
    for (const item of batch) item.sending = true;
    this.stats.requests++;
    let ended = false;
    const end = (outcome) => {
      if (ended) return;
      ended = true;
      clearTimeout(timeout);
      this.request = null;
      this.#after(batch, outcome);
    };
    // One bound for the whole exchange: a receiver that accepts and never answers is as good as none.
    const timeout = setTimeout(() => {
      end({ failure: `no answer within ${this.limits.requestTimeoutMs} ms` });
      this.closing?.destroy();
    }, this.limits.requestTimeoutMs);
    timeout.unref();
    try {
      const body = Buffer.from(`[${batch.map((item) => item.json).join(",")}]`, "utf8");
      const request = this.transport.request(this.url, {
        method: "POST",
        agent: this.agent,
        headers: { ...this.headers, "content-length": body.length },
      });
      this.request = request;
      this.closing = request;
      request.on("socket", (socket) => (this.draining ? socket.ref() : socket.unref()));
      // A connection that was closed while it was idle says nothing of the sidecar.
      request.on("error", (error) => end({ failure: error.code ?? error.message, stale: request.reusedSocket && error.code !== undefined }));
      request.on("response", (response) => {
        const chunks = [];
        let size = 0;
        response.on("data", (chunk) => {
          size += chunk.length;
          if (size <= this.limits.answerBytes) chunks.push(chunk);
        });
        response.on("end", () =>
          end({ status: response.statusCode, retryAfter: response.headers["retry-after"], answer: Buffer.concat(chunks).toString("utf8") }),
        );
        response.on("error", (error) => end({ failure: error.code ?? error.message }));
        response.on("aborted", () => end({ failure: "answer ended early" }));
      });
      request.end(body);
    } catch (error) {
      end({ failure: error?.code ?? "request could not be made" });
    }
  }

  #after(batch, { status, failure, stale, retryAfter, answer }) {
    if (this.closed) return;
    if (stale) {
      this.#release(batch);
      return this.#schedule(0);
    }
    if (status >= 200 && status < 300) this.#confirmed(batch, answer);
    else if (status === 413) this.#tooLarge(batch);
    else if (status >= 300 && status < 500 && status !== 408 && status !== 429) this.#refusedForGood(batch, status);
    else this.#again(batch, failure ?? `status ${status}`, retryAfter);
    if (this.queue.length === 0) return this.#endDrain();
    this.#schedule(this.draining ? Math.min(50 * this.failures, 250) : this.failures > 0 || this.queue.length >= this.batchLimit ? 0 : this.limits.flushAfterMs);
  }

  #confirmed(batch, answer) {
    this.#remove(batch);
    this.failures = 0;
    this.notBefore = 0;
    this.batchLimit = Math.min(this.limits.batchEvents, this.batchLimit * 2);
    let told = {};
    try {
      told = JSON.parse(answer) ?? {};
    } catch {
      // The status alone confirms.
    }
    const rejected = Array.isArray(told.rejected) ? told.rejected.length : 0;
    this.stats.accepted += Number(told.accepted ?? batch.length - rejected) || 0;
    this.stats.duplicates += Number(told.duplicates ?? 0) || 0;
    if (rejected > 0) {
      this.countDropped("rejected", rejected);
      this.#sayOnce("rejected", `the sidecar rejected events: ${clip(told.rejected[0]?.error)}`);
    }
    if (this.away) {
      this.away = false;
      this.logger.info(`openclaw-trace: the sidecar at ${this.url.origin} is back`);
    }
    if (Object.keys(this.dropped).length > 0) {
      const dropped = this.dropped;
      this.dropped = {};
      const json = this.describeDropped(dropped);
      this.#enqueue({ json, bytes: byteLength(json), sending: false, dropped });
    }
  }

  #tooLarge(batch) {
    if (batch.length > 1) {
      this.batchLimit = Math.max(1, Math.floor(batch.length / 2));
      this.#release(batch);
      return;
    }
    this.#remove(batch);
    this.countDropped("too_large");
    this.#sayOnce("413", `the sidecar takes no event of ${batch[0].bytes} bytes; it was dropped`);
  }

  #refusedForGood(batch, status) {
    this.#remove(batch);
    this.countDropped(`refused_${status}`, batch.length);
    const hint = status === 401 ? "; check the token (OPENCLAW_TRACE_TOKEN, TRACE_INGEST_TOKEN)" : status === 404 ? "; check the endpoint" : "";
    this.#sayOnce(String(status), `the sidecar refused events with status ${status}${hint}; what it refuses is dropped`);
  }

  #again(batch, why, retryAfter) {
    this.#release(batch);
    this.failures++;
    const asked = readRetryAfter(retryAfter);
    const backoff = Math.min(this.limits.retryMaxMs, this.limits.retryBaseMs * 2 ** Math.min(this.failures - 1, 16));
    // Half fixed, half random: many agents that lost one sidecar do not all come back at once.
    const waitMs = asked !== undefined ? Math.min(asked, this.limits.retryAfterMaxMs) : backoff / 2 + this.random() * (backoff / 2);
    // A drain has no time to wait in, but for one who asked to be left alone.
    this.notBefore = this.draining && asked === undefined ? 0 : performance.now() + waitMs;
    // Busy is not away: 429 says that the sidecar lives.
    if (!this.away && !why.endsWith("429")) {
      this.away = true;
      this.logger.warn(`openclaw-trace: the sidecar at ${this.url.origin} is away (${why}); events wait in memory, the oldest are dropped when it is full`);
    }
  }

  /** Takes a batch off the queue; of its events, those dropped meanwhile are gone already. */
  #remove(batch) {
    let left = 0;
    for (const item of batch) {
      item.sending = false;
      if (!item.lostAs) left++;
    }
    // Only the head is ever dropped, so what is left of the batch is the head now.
    for (; left > 0; left--) this.#shift();
  }

  #release(batch) {
    for (const item of batch) {
      item.sending = false;
      if (item.lostAs) this.countDropped(item.lostAs);
    }
  }

  #sayOnce(key, message) {
    if (this.refused.has(key)) return;
    this.refused.add(key);
    this.logger.warn(`openclaw-trace: ${message}`);
  }

  #armDeadline() {
    clearTimeout(this.draining.timer);
    this.draining.timer = setTimeout(() => this.#endDrain(), Math.max(0, this.draining.deadline - performance.now()));
  }

  #endDrain() {
    if (!this.draining) return;
    const { resolve, timer } = this.draining;
    clearTimeout(timer);
    this.draining = null;
    this.timer?.unref();
    this.request?.socket?.unref();
    resolve(this.queue.length);
  }
}

/** Milliseconds asked for, in seconds or as a date; undefined where there is none. */
export function readRetryAfter(value, now = Date.now()) {
  if (typeof value !== "string" || value.trim() === "") return undefined;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function clip(text) {
  return String(text ?? "").slice(0, 200);
}
