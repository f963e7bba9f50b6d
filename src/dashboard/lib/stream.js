// Events as they come. Server-sent events are read by fetch, since the browser's EventSource cannot send a token.

import { open } from "./api.js";

const LONGEST_WAIT = 30_000;
const HIDDEN_FOR = 60_000;

/**
 * Follows the stream until the returned function is called. `event` gets each row, `state` one of `live`, `waiting`
 * (with the reason) and `asleep`: a tab that nobody looks at for a minute lets go, and goes on behind the last
 * event that it saw once it is looked at again.
 */
export function follow({ params, event, state }) {
  let last;
  let stop = new AbortController();
  let ended = false;
  let wait = 1000;
  let timer;
  let sleepTimer;

  async function run() {
    const { signal } = stop;
    try {
      const more = last === undefined ? {} : { "Last-Event-ID": String(last) };
      const response = await open("/api/v1/stream", params, { signal, headers: more });
      state("live");
      for await (const message of messages(response.body)) {
        wait = 1000;
        if (message.id) last = message.id;
        if (message.event === "event") event(JSON.parse(message.data));
      }
      retry("the stream ended");
    } catch (error) {
      // A wrong token is asked for anew by whoever hears of the 401; trying again would change nothing.
      if (!signal.aborted && error.status !== 401) retry(error.message);
    }
  }

  function retry(why) {
    if (ended || stop.signal.aborted) return;
    state("waiting", why);
    timer = setTimeout(run, wait * (0.7 + Math.random() * 0.6));
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }

  function look() {
    clearTimeout(sleepTimer);
    if (document.hidden) {
      sleepTimer = setTimeout(() => {
        clearTimeout(timer);
        stop.abort();
        state("asleep");
      }, HIDDEN_FOR);
    } else if (stop.signal.aborted && !ended) {
      stop = new AbortController();
      wait = 1000;
      run();
    }
  }

  document.addEventListener("visibilitychange", look);
  run();
  return () => {
    ended = true;
    clearTimeout(timer);
    clearTimeout(sleepTimer);
    stop.abort();
    document.removeEventListener("visibilitychange", look);
  };
}

/** The messages of an event stream. */
export async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let message = { event: "message", data: [], id: undefined };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const raw of lines) {
        const text = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (text === "") {
          if (message.data.length > 0) yield { ...message, data: message.data.join("\n") };
          message = { event: "message", data: [], id: undefined };
          continue;
        }
        const colon = text.indexOf(":");
        if (colon === 0) continue;
        const field = colon < 0 ? text : text.slice(0, colon);
        const content = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
        if (field === "data") message.data.push(content);
        else if (field === "event") message.event = content;
        else if (field === "id") message.id = content;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
