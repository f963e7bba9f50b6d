// One recorder per process: hooks go in, events come out at the sidecar.
//
// A hook only leaves a note: its name, its objects, the time. The work is done in a later turn of
// the event loop (setImmediate), in slices, so that nothing of it stands between the agent and its
// model. The objects may change until then. That is accepted: OpenClaw hands copies (llm_input,
// message hooks), frozen objects (model calls), or lists that only grow; parameters that another
// plugin rewrites are taken from after_tool_call, which tells what ran. Copying in the hook would
// cost the agent more than that is worth.

import { Content, droppedJson } from "./events.js";
import { sendBeforeExit } from "./last-attempt.js";
import { Sampler } from "./sampling.js";
import { Sender } from "./sender.js";
import { Observer } from "./observer.js";

const INBOX_NOTES = 10_000;
const SLICE_MS = 4;

const STOP_DRAIN_MS = 4_000; // OpenClaw allows gateway_stop 5 s
const SESSION_DRAIN_MS = 1_500; // and all of session_end 2 s
const IDLE_DRAIN_MS = 2_000;
const EXIT_MS = 1_000;

/** Hooks after which a process may end soon: what waits is sent without waiting for company. */
const FLUSH_AFTER = new Set(["agent_end", "llm_output", "message_sent", "session_end", "gateway_stop"]);

export class Recorder {
  /**
   * @param {object} options
   * @param {Record<string, any>} options.settings
   * @param {{info: Function, warn: Function}} options.logger
   * @param {object} [options.limits] `runs` and `sender`, for tests
   * @param {() => number} [options.now] Unix milliseconds
   */
  constructor({ settings, logger, limits = {}, now = Date.now }) {
    this.settings = settings;
    this.now = now;
    this.inbox = [];
    this.scheduled = null;
    this.sweeper = null;
    this.gaveUp = false; // a drain ended with events left, and nothing has come since
    this.sender = new Sender({ ...settings, logger, limits: limits.sender, describeDropped: (dropped) => droppedJson(dropped, this.now()) });
    this.sampler = new Sampler({ share: settings.sample, maxHeldBytes: settings.maxQueueBytes / 2, send: (json) => this.sender.push(json) });
    this.observer = new Observer({ content: new Content(settings), maxHeldBytes: settings.maxQueueBytes / 2, out: this.sampler, limits: limits.runs });
  }

  /** Called in a hook. Does no work, never throws; returns a promise only where OpenClaw waits for the process to stop. */
  note(hook, event, ctx) {
    if (this.inbox.length >= INBOX_NOTES) {
      this.sender.countDropped("inbox_full");
      return undefined;
    }
    this.inbox.push({ hook, event, ctx, at: this.now() });
    this.gaveUp = false;
    if (hook === "gateway_stop") return this.drain(STOP_DRAIN_MS);
    if (hook === "session_end" && isShutdown(event)) return this.drain(SESSION_DRAIN_MS);
    this.#schedule();
    return undefined;
  }

  /** Works off the notes and sends what waits, within a bound. */
  drain(timeoutMs) {
    this.#work(Infinity);
    return this.sender.drain(timeoutMs).then((left) => {
      this.gaveUp = left > 0;
    });
  }

  /** The event loop has run empty: the last chance to send in the usual way. */
  beforeExit() {
    this.#work(Infinity);
    this.observer.closeAll(this.now());
    this.drain(IDLE_DRAIN_MS);
  }

  /** The process is ending, and nothing asynchronous will happen any more. */
  exit() {
    this.#work(Infinity);
    this.observer.closeAll(this.now());
    const events = this.sender.unsent();
    // One who did not answer before is not waited for.
    if (events.length === 0 || this.sender.away || this.gaveUp) return true;
    const { url, headers } = this.sender;
    return sendBeforeExit({ url, headers, events, timeoutMs: EXIT_MS });
  }

  /** Hands what waits to another recorder, with other settings. */
  replaceWith(next) {
    this.#work(Infinity);
    this.observer.closeAll(this.now());
    for (const json of this.sender.unsent()) next.sender.push(json);
    this.close();
  }

  close() {
    clearImmediate(this.scheduled);
    clearTimeout(this.sweeper);
    this.sender.close();
  }

  #schedule() {
    this.scheduled ??= setImmediate(() => {
      this.scheduled = null;
      this.#work(SLICE_MS);
      if (this.inbox.length > 0) this.#schedule();
    });
  }

  #work(sliceMs) {
    const notes = this.inbox;
    if (notes.length === 0) return;
    const until = performance.now() + sliceMs;
    let done = 0;
    let flush = false;
    for (; done < notes.length; done++) {
      if (done > 0 && performance.now() > until) break;
      try {
        this.observer.take(notes[done]);
      } catch {
        // Whatever a hook hands over, the agent must not notice; that something was lost is told.
        this.sender.countDropped("unreadable");
      }
      flush ||= FLUSH_AFTER.has(notes[done].hook);
    }
    this.inbox = notes.slice(done);
    if (flush) this.sender.flush();
    this.#sweep();
  }

  #sweep() {
    clearTimeout(this.sweeper);
    this.sweeper = null;
    let waitMs;
    try {
      waitMs = this.observer.sweep(this.now());
    } catch {
      this.sender.countDropped("unreadable");
    }
    if (waitMs === undefined) return;
    this.sweeper = setTimeout(() => this.#sweep(), Math.min(waitMs, 60_000));
    this.sweeper.unref();
  }
}

function isShutdown(event) {
  try {
    return event?.reason === "shutdown" || event?.reason === "restart";
  } catch {
    return false;
  }
}
