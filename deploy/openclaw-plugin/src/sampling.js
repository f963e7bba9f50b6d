// Sampling by whole runs: all of a run's events go, or none.
//
// The choice is a hash of the run's id, so that each event of a run meets the same one, in whatever
// order and process. A run that was not chosen is held until it ends, since an error in it makes it
// worth sending after all; what is held is bounded, and the oldest held run gives way.

import { createHash } from "node:crypto";
import { byteLength } from "./json.js";

export class Sampler {
  /**
   * @param {object} options
   * @param {number} options.share 0 to 1
   * @param {number} options.maxHeldBytes
   * @param {(json: string) => void} options.send
   */
  constructor({ share, maxHeldBytes, send }) {
    this.share = share;
    this.maxHeldBytes = maxHeldBytes;
    this.send = send;
    this.held = new Map(); // run id to {events, bytes}
    this.heldBytes = 0;
    this.failedRuns = new Set();
    this.skipped = 0;
  }

  /** What belongs to no run is always sent. */
  emit(runId, json) {
    if (this.share >= 1 || runId === undefined || this.#chosen(runId) || this.failedRuns.has(runId)) return this.send(json);
    let run = this.held.get(runId);
    if (!run) this.held.set(runId, (run = { events: [], bytes: 0 }));
    const bytes = byteLength(json);
    run.events.push(json);
    run.bytes += bytes;
    this.heldBytes += bytes;
    while (this.heldBytes > this.maxHeldBytes || this.held.size > 1_000) this.#forget(this.held.keys().next().value);
  }

  /** An error: the whole run goes, what was held first. */
  failed(runId) {
    if (this.share >= 1 || this.failedRuns.has(runId)) return;
    this.failedRuns.add(runId);
    if (this.failedRuns.size > 1_000) this.failedRuns.delete(this.failedRuns.values().next().value);
    for (const json of this.held.get(runId)?.events ?? []) this.send(json);
    this.#take(runId);
  }

  /** The run has ended. */
  close(runId) {
    if (this.held.has(runId)) this.#forget(runId);
  }

  #forget(runId) {
    this.skipped += this.held.get(runId).events.length;
    this.#take(runId);
  }

  #take(runId) {
    this.heldBytes -= this.held.get(runId)?.bytes ?? 0;
    this.held.delete(runId);
  }

  #chosen(runId) {
    if (this.share <= 0) return false;
    return createHash("sha256").update(runId).digest().readUInt32BE(0) / 2 ** 32 < this.share;
  }
}
