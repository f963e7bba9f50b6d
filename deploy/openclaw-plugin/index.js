// The OpenClaw plugin of openclaw-trace: hears the agent's hooks and tells the sidecar.
//
// OpenClaw loads and registers a plugin several times a process, each time as a module of its own,
// and it is not the same registration that hears the hooks in each: the gateway calls the one made
// in mode "full", `openclaw agent --local` (2026.9.6) the one made in mode "discovery". So handlers
// are registered in both, and lead to one recorder, which lives on `globalThis` and is made by the
// first hook that fires. Registering alone opens nothing and starts nothing.

import { Recorder } from "./src/recorder.js";
import { readSettings } from "./src/settings.js";
import { HOOKS } from "./src/observer.js";

const ID = "openclaw-trace";
// The version in the key keeps an updated plugin from working with the objects of the one before.
const SHARED = Symbol.for("openclaw-trace.plugin/0.1.0");
const MODES = new Set(["full", "discovery", undefined]);

export default {
  id: ID,
  name: ID,
  description: "Tells the openclaw-trace sidecar what the agent does.",
  register(api) {
    if (!MODES.has(api.registrationMode)) return;
    const { settings, problems } = readSettings(api.pluginConfig, process.env);
    const logger = safeLogger(api.logger);
    const shared = sharedState();
    for (const problem of problems) {
      if (shared.told.has(problem)) continue;
      shared.told.add(problem);
      logger.warn(`${ID}: ${problem}`);
    }
    for (const hook of HOOKS) {
      const seen = (shared.seen[hook] ??= new WeakSet());
      api.on(hook, (event, ctx) => {
        try {
          // Two registrations that hear the same hook get the same object.
          if (event !== null && typeof event === "object") {
            if (seen.has(event)) return undefined;
            seen.add(event);
          }
          return recorder(shared, settings, logger).note(hook, event, ctx);
        } catch {
          return undefined;
        }
      });
    }
  },
};

function sharedState() {
  globalThis[SHARED] ??= { recorder: null, key: "", seen: {}, told: new Set() };
  return globalThis[SHARED];
}

function recorder(shared, settings, logger) {
  if (shared.recorder && shared.settings === settings) return shared.recorder;
  const key = JSON.stringify(settings);
  if (!shared.recorder || shared.key !== key) {
    const next = new Recorder({ settings, logger });
    if (shared.recorder) shared.recorder.replaceWith(next);
    else listenForTheEnd(shared);
    shared.recorder = next;
    shared.key = key;
  }
  shared.settings = settings;
  return shared.recorder;
}

function listenForTheEnd(shared) {
  // OpenClaw has ten 'exit' listeners of its own, and Node warns of an eleventh.
  if (process.getMaxListeners() > 0) process.setMaxListeners(process.getMaxListeners() + 1);
  process.once("beforeExit", () => quietly(() => shared.recorder?.beforeExit()));
  process.once("exit", () => quietly(() => shared.recorder?.exit()));
}

function quietly(run) {
  try {
    run();
  } catch {
    // The process is ending; there is nobody left to tell.
  }
}

function safeLogger(logger) {
  const say = (level) => (message) => {
    try {
      (logger?.[level] ?? logger?.info)?.call(logger, message);
    } catch {
      // A log that fails must not become the agent's failure.
    }
  };
  return { info: say("info"), warn: say("warn") };
}
