// What the dashboard is shown: a week of an agent's life, made up but in the shapes that OpenClaw's plugin sends. All of it
// goes in through the ingest port. The same numbers come out each time; only the times move with the clock.

import { randomUUID } from "node:crypto";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Numbers that look like chance and are the same each time (mulberry32). */
export function chance(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export const MODELS = {
  "claude-sonnet-4-5": { provider: "anthropic", input: 3, output: 15, weight: 5 },
  "claude-haiku-4-5": { provider: "anthropic", input: 1, output: 5, weight: 3 },
  "gpt-5-mini": { provider: "openai", input: 0.25, output: 2, weight: 3 },
  "gemini-2.5-flash": { provider: "gemini", input: 0.3, output: 2.5, weight: 2 },
  "house-finetune-7b": { provider: "our-own-server", input: null, output: null, weight: 1 },
};
const PLOUGHED = ["fetch_page", "extract", "store_note"];
const TOOLS = ["exec", "read", "write", "web_search", "web_fetch", "memory_search", "browser"];
const SESSIONS = ["agent:main:telegram:dm:48213377", "agent:main:whatsapp:group:family", "agent:main:cron:daily-digest", "agent:main:heartbeat", "agent:research:webchat:7f3a"];
const ASKED = ["What is on my calendar tomorrow, and is there anything I should prepare?", "Summarise the three longest mails of this week.", "Why did the backup fail last night?", "Book a table for four on Friday, somewhere quiet.", "Draft a reply to the landlord, friendly but firm."];
const SAID = ["You have two meetings: the design review at 10:00 and a call with Ines at 15:30. For the review, the open question is the retention setting.", "Done. The longest is from the insurance company; they want the form back by Friday.", "The volume was full: 97 % used. I removed two old archives and ran it again; it went through.", "I found a table at 19:30 at the Olive Tree. Shall I confirm?"];

function pick(random, list) {
  return list[Math.floor(random() * list.length)];
}

function cost(model, input, cached, output) {
  const { input: inPrice, output: outPrice } = MODELS[model];
  return inPrice === null ? undefined : Number((((input - cached) * inPrice + cached * inPrice * 0.1 + output * outPrice) / 1e6).toFixed(8));
}

/** A model call's event; `used`: tokens in, of them cached, and out. */
export function call({ at, duration, model, used, ...rest }) {
  const [input, cached, output] = used;
  const price = cost(model, input, cached, output);
  return {
    kind: "llm_call", name: model, timestamp: at, duration_ms: duration, status: "ok", trace_id: randomUUID(), ...rest,
    attributes: {
      "gen_ai.operation.name": "chat", "gen_ai.provider.name": MODELS[model].provider, "gen_ai.request.model": model, "gen_ai.response.model": model,
      "gen_ai.usage.input_tokens": input, "gen_ai.usage.output_tokens": output, "gen_ai.usage.cache_read.input_tokens": cached,
      "gen_ai.request.temperature": 0.7, "gen_ai.response.finish_reasons": ["stop"],
      ...(price === undefined ? {} : { cost_usd: price }), ...rest.attributes,
    },
  };
}

/** One turn of the agent. */
function turn(random, at, session, number) {
  const run = `turn-${String(number).padStart(4, "0")}`;
  const base = { run_id: run, session_id: session, agent_id: "home-assistant" };
  const root = `${run}-root`;
  const events = [];
  const steps = 1 + Math.floor(random() * 4);
  const weights = Object.entries(MODELS).flatMap(([name, { weight }]) => Array(weight).fill(name));
  const model = pick(random, weights);
  const asked = pick(random, ASKED);
  let clock = at + 40;
  let failedAt;
  for (let step = 0; step < steps; step += 1) {
    const input = 4000 + Math.floor(random() * 24_000);
    const duration = 700 + Math.floor(random() * 5200);
    const fails = random() < 0.05;
    events.push(call({ at: clock, duration, model, used: [input, Math.floor(input * random() * 0.9), fails ? 0 : 60 + Math.floor(random() * 700)], ...base,
      span_id: `${run}-m${step}`, parent_span_id: root, input: { prompt: asked, messages: [] }, output: fails ? undefined : { role: "assistant", content: [{ type: "text", text: pick(random, SAID) }] },
      ...(fails ? { status: "error", error: "529 overloaded_error: the model is overloaded, try again later" } : {}) }));
    clock += duration + 15;
    if (fails && random() < 0.4) {
      failedAt = clock;
      break;
    }
    if (step === steps - 1) break;
    const tool = pick(random, TOOLS);
    const toolTime = 20 + Math.floor(random() ** 3 * 9000);
    const toolFails = random() < 0.08;
    events.push({ kind: "tool_call", name: tool, timestamp: clock, duration_ms: toolTime, status: toolFails ? "error" : "ok", trace_id: randomUUID(), ...base, span_id: `${run}-t${step}`, parent_span_id: root,
      error: toolFails ? `${tool}: exited with code 1` : undefined, input: { path: "notes/today.md", query: asked.slice(0, 30) }, output: toolFails ? undefined : "12 lines" });
    clock += toolTime + 10;
  }
  events.push({ kind: "run", name: session.includes("cron") ? "cron" : session.includes("heartbeat") ? "heartbeat" : "user", timestamp: at, duration_ms: clock - at, status: failedAt ? "error" : "ok", trace_id: randomUUID(),
    error: failedAt ? "the model is overloaded" : undefined, ...base, span_id: root, input: asked, output: failedAt ? undefined : pick(random, SAID) });
  if (failedAt) events.push({ kind: "error", name: "overloaded_error", timestamp: failedAt, status: "error", error: "529 overloaded_error: the model is overloaded, try again later", trace_id: randomUUID(), ...base, parent_span_id: root, span_id: `${run}-e` });
  return events;
}

/** The turn that is looked at closely: retries, tools at once, a command in a tool, a sub-agent, long texts. */
export function showpiece(at) {
  const base = { run_id: "showpiece", session_id: SESSIONS[0], agent_id: "home-assistant" };
  const span = (event) => ({ status: "ok", trace_id: randomUUID(), ...base, ...event });
  const model = "claude-sonnet-4-5";
  const system = "You are the family's assistant. You have tools for files, the web and the calendar. Be brief, be kind, and ask before you spend money.\n".repeat(6);
  const events = [
    span({ kind: "run", name: "user", timestamp: at, duration_ms: 41_850, span_id: "root", input: "Why did the backup fail last night? Fix it if you can, and tell me what you did.", output: "The volume was full. I removed two archives from 2024 and ran the backup again; it is complete." }),
    span({ kind: "message", name: "telegram", timestamp: at - 60, duration_ms: 42_100, span_id: "msg", input: "Why did the backup fail last night? Fix it if you can, and tell me what you did." }),
    call({ at: at + 120, duration: 1430, model, used: [0, 0, 0], ...base, span_id: "m1", parent_span_id: "root", status: "error", error: "529 {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", input: { prompt: "Why did the backup fail last night?", system_prompt: system, messages_left_out: 0, messages: [] } }),
    call({ at: at + 2600, duration: 1210, model, used: [0, 0, 0], ...base, span_id: "m2", parent_span_id: "root", status: "error", error: "529 overloaded_error" }),
    call({ at: at + 5900, duration: 4380, model, used: [18_204, 16_380, 412], ...base, span_id: "m3", parent_span_id: "root",
      input: { prompt: "Why did the backup fail last night? Fix it if you can, and tell me what you did.", system_prompt: system, messages_left_out: 14, messages: [
        { role: "user", content: "Remind me to water the plants on Sunday." },
        { role: "assistant", content: [{ type: "text", text: "I will remind you on Sunday at 9:00." }] }] },
      output: { role: "assistant", content: [{ type: "thinking", thinking: "The backup runs at 03:00. Its log is the first place to look; the volume is the second." }, { type: "text", text: "I will look at the log and at the disk." }, { type: "toolCall", id: "c1", name: "exec", arguments: { command: "tail -n 50 /var/log/backup.log" } }, { type: "toolCall", id: "c2", name: "exec", arguments: { command: "df -h /data" } }] } }),
    span({ kind: "tool_call", name: "exec", timestamp: at + 10_400, duration_ms: 820, span_id: "t1", parent_span_id: "root", input: { command: "tail -n 50 /var/log/backup.log" }, output: "2026-11-24T03:02:01 backup: write failed: No space left on device\n" + Array.from({ length: 120 }, (_, line) => `2026-11-24T03:00:${String(line % 60).padStart(2, "0")} backup: wrote archive part ${line} to /data/backup (${1000 + line * 37} KiB)`).join("\n") }),
    span({ kind: "exec", name: "tail -n 50 /var/log/backup.log", timestamp: at + 10_480, duration_ms: 690, span_id: "x1", parent_span_id: "t1" }),
    span({ kind: "tool_call", name: "exec", timestamp: at + 10_420, duration_ms: 1510, span_id: "t2", parent_span_id: "root", input: { command: "df -h /data" }, output: "Filesystem      Size  Used Avail Use% Mounted on\n/dev/vdb        974M  912M     0 100% /data" }),
    span({ kind: "exec", name: "df -h /data", timestamp: at + 10_500, duration_ms: 1390, span_id: "x2", parent_span_id: "t2" }),
    call({ at: at + 12_050, duration: 3120, model, used: [19_877, 18_200, 298], ...base, span_id: "m4", parent_span_id: "root",
      input: { follows: "m3", messages: [{ role: "toolResult", toolName: "exec", content: [{ type: "text", text: "backup: write failed: No space left on device" }] }, { role: "toolResult", toolName: "exec", content: [{ type: "text", text: "/dev/vdb 974M 912M 0 100% /data" }] }] },
      output: { role: "assistant", content: [{ type: "text", text: "The volume is full. I will ask a sub-agent which archives may go." }] } }),
    span({ kind: "subagent", name: "archivist", timestamp: at + 15_250, duration_ms: 14_600, span_id: "s1", parent_span_id: "root", input: "Which archives under /data/backup are older than a year and have a copy elsewhere?" }),
    call({ at: at + 15_400, duration: 2150, model: "claude-haiku-4-5", used: [6120, 0, 180], ...base, span_id: "s1m1", parent_span_id: "s1", input: "Which archives may go?", output: { role: "assistant", content: "I will list them." } }),
    span({ kind: "tool_call", name: "read", timestamp: at + 17_700, duration_ms: 45, span_id: "s1t1", parent_span_id: "s1", status: "error", error: "EACCES: permission denied, open '/data/backup/index.json'", input: { path: "/data/backup/index.json" } }),
    span({ kind: "tool_call", name: "read", timestamp: at + 18_100, duration_ms: 52, span_id: "s1t2", parent_span_id: "s1", input: { path: "/data/backup/index.json" }, output: { archives: [{ name: "2024-03.tar.zst", bytes: 183_500_800, copies: 2 }, { name: "2024-04.tar.zst", bytes: 171_966_464, copies: 2 }], checked: true, note: null } }),
    span({ kind: "tool_call", name: "web_fetch", timestamp: at + 18_300, duration_ms: 7900, span_id: "s1t3", parent_span_id: "s1", input: { url: "http://nas.local/copies" }, output: "2024-03.tar.zst ok\n2024-04.tar.zst ok" }),
    call({ at: at + 26_400, duration: 3300, model: "claude-haiku-4-5", used: [7411, 6000, 121], ...base, span_id: "s1m2", parent_span_id: "s1", output: { role: "assistant", content: "2024-03 and 2024-04 may go; both have two copies." } }),
    span({ kind: "tool_call", name: "exec", timestamp: at + 30_100, duration_ms: 6200, span_id: "t3", parent_span_id: "root", input: { command: "rm /data/backup/2024-0{3,4}.tar.zst && systemctl start backup --wait" }, output: "" }),
    call({ at: at + 36_500, duration: 5200, model, used: [21_402, 19_800, 377], ...base, span_id: "m5", parent_span_id: "root", output: { role: "assistant", content: [{ type: "text", text: "The volume was full. I removed two archives from 2024 and ran the backup again; it is complete." }] } }),
    span({ kind: "message", name: "telegram", timestamp: at + 41_750, duration_ms: 180, span_id: "out", parent_span_id: "root", output: "The volume was full. I removed two archives from 2024 and ran the backup again; it is complete." }),
  ];
  return events;
}

/** A run of 20,000 events: a deep and wide tree, one error late in it, circles and parents that never came. */
export function giant(at, count = 20_000) {
  const base = { run_id: "giant", session_id: SESSIONS[4], agent_id: "home-assistant" };
  const events = [{ kind: "run", name: "overnight research", timestamp: at, duration_ms: count * 12, status: "ok", trace_id: randomUUID(), ...base, span_id: "g0" }];
  for (let index = 1; index < count; index += 1) {
    const parent = index < 40 ? "g0" : `g${Math.floor(index / 40)}`;
    const bad = index === count - 50;
    events.push({ kind: "tool_call", name: index === count - 7 ? "needle_tool" : PLOUGHED[index % 3], timestamp: at + index * 12, duration_ms: 9, status: bad ? "error" : "ok", error: bad ? "the one that failed" : undefined,
      trace_id: randomUUID(), ...base, span_id: `g${index}`, parent_span_id: parent });
  }
  // Two that are each other's parents, one that is its own, and one whose parent never came.
  const odd = [["loop-a", "loop-b"], ["loop-b", "loop-a"], ["self", "self"], ["orphan", "never-came"]];
  odd.forEach(([span, parent], place) => {
    Object.assign(events[events.length - 5 + place], { span_id: `odd-${span}`, parent_span_id: parent === "never-came" ? parent : `odd-${parent}`, name: span });
  });
  return events;
}

const PWN = "window.__pwned=(window.__pwned||0)+1";
export const HOSTILE_NAME = `<img src=x onerror="${PWN}">`;
export const HOSTILE_TEXT = `<script>${PWN}</script><svg onload="${PWN}"> \${${PWN}} {{constructor.constructor('${PWN}')()}} \u001b[31mred\u001b[0m \u202eevil\u2066 \u0007 javascript:${PWN}`;
export const HOSTILE_RUN = `../run?<b onclick='${PWN}'>#"%2e%2e/\u202e`;
export const HOSTILE_SESSION = `"><iframe srcdoc="<script>parent.${PWN}</script>"></iframe>&amp;/..`;

export function hostile(at) {
  const ids = { run_id: HOSTILE_RUN, session_id: HOSTILE_SESSION, agent_id: HOSTILE_NAME };
  const body = { [HOSTILE_NAME]: HOSTILE_TEXT, list: [HOSTILE_TEXT, { role: HOSTILE_NAME }] };
  const more = { status: "error", error: HOSTILE_TEXT, trace_id: randomUUID(), ...ids, attributes: { [HOSTILE_NAME]: HOSTILE_TEXT, "gen_ai.provider.name": HOSTILE_NAME } };
  return [
    { kind: "run", name: HOSTILE_NAME, timestamp: at, duration_ms: 500, span_id: HOSTILE_NAME, input: HOSTILE_TEXT, output: body, ...more },
    { kind: "llm_call", name: HOSTILE_NAME, timestamp: at + 10, duration_ms: 200, span_id: `${HOSTILE_NAME}2`, parent_span_id: HOSTILE_NAME, ...more, trace_id: randomUUID(),
      input: [{ role: HOSTILE_NAME, content: HOSTILE_TEXT }, { role: "user", content: [{ type: "text", text: HOSTILE_TEXT }, { type: "tool_use", name: HOSTILE_NAME, input: body }] }], output: { role: "assistant", content: HOSTILE_TEXT },
      attributes: { ...more.attributes, "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 1, cost_usd: 0.000001 } },
    { kind: "tool_call", name: HOSTILE_NAME, timestamp: at + 250, duration_ms: 100, span_id: `${HOSTILE_NAME}3`, parent_span_id: HOSTILE_NAME, ...more, trace_id: randomUUID(), input: HOSTILE_TEXT, output: HOSTILE_TEXT },
    { kind: "error", name: HOSTILE_NAME, timestamp: at + 400, ...more, trace_id: randomUUID() },
  ];
}

/** What the machine did, a sample a minute; it was busy around three hours ago, and for a while nobody looked. */
function samples(now, hours) {
  const random = chance(11);
  const events = [];
  const limit = 512 * 1024 * 1024;
  for (let back = hours * 60; back >= 0; back -= 1) {
    if (back > 400 && back < 440) continue;
    const busy = Math.exp(-(((back - 180) / 25) ** 2)) + 0.8 * Math.exp(-(((back - 18) / 6) ** 2));
    const cpu = Math.min(1, 0.06 + busy * 0.7 + random() * 0.08);
    const memory = Math.floor(limit * (0.42 + busy * 0.35 + Math.sin(back / 90) * 0.05 + random() * 0.02));
    const disk = Math.floor(974e6 * (0.61 + (hours * 60 - back) / (hours * 60) * 0.13));
    events.push({ kind: "metric", name: "container.resources", timestamp: now - back * MINUTE, trace_id: randomUUID(), attributes: {
      scope: "cgroup2", "openclaw_trace.sample.interval": 60, "container.cpu.usage": cpu, "openclaw_trace.cpu.limit": 1, "openclaw_trace.cpu.utilization": cpu, "openclaw_trace.cpu.throttling.share": Math.max(0, busy - 0.6) * 0.4,
      "container.memory.usage": memory + 4e7, "container.memory.working_set": memory, "container.memory.rss": memory - 3e7, "openclaw_trace.memory.limit": limit, "openclaw_trace.memory.utilization": memory / limit,
      "openclaw_trace.pressure.cpu.some.avg10": busy * 0.3 + random() * 0.01, "openclaw_trace.pressure.memory.some.avg10": Math.max(0, busy - 0.5) * 0.2, "openclaw_trace.pressure.io.some.avg10": random() * 0.03,
      "system.filesystem.mountpoint": "/data", "container.filesystem.capacity": 974_000_000, "container.filesystem.usage": disk, "container.filesystem.available": 974_000_000 - disk, "openclaw_trace.filesystem.utilization": disk / 974e6,
      "container.disk.io.read": Math.floor(random() * 4e5), "container.disk.io.write": Math.floor(6e5 + busy * 4e7 + random() * 3e5), "container.network.io.receive": Math.floor(2e5 + busy * 9e6 + random() * 2e5), "container.network.io.transmit": Math.floor(1e5 + busy * 2e6 + random() * 1e5),
      "openclaw_trace.pids.current": 31 + Math.floor(busy * 20), "openclaw_trace.process.openclaw.memory.rss": memory - 6e7, "openclaw_trace.process.openclaw.cpu.usage": cpu * 0.9 } });
  }
  return events;
}

/** Everything: `{ batches, expected }`. */
export function life(now = Date.now()) {
  const random = chance(7);
  const turns = [];
  let number = 0;
  // The day in full, the week before it thinner.
  for (let back = 7 * 24 * 60; back > 4; back -= (back > 24 * 60 ? 90 : 14) + Math.floor(random() * (back > 24 * 60 ? 140 : 20))) {
    number += 1;
    turns.push(turn(random, now - back * MINUTE, pick(random, SESSIONS), number));
  }
  const show = showpiece(now - 3 * MINUTE);
  const events = [
    ...turns.flat(),
    ...show,
    ...hostile(now - 26 * MINUTE),
    { kind: "error", name: "oom_kill", timestamp: now - 176 * MINUTE, status: "error", error: "the kernel killed a process of the agent for want of memory (1 in the last 15 s)", trace_id: randomUUID(), agent_id: "home-assistant" },
    { kind: "error", name: "process_restarted", timestamp: now - 175 * MINUTE, status: "error", error: "openclaw (pid 412) ended, and pid 977 has started in its place", trace_id: randomUUID(), agent_id: "home-assistant" },
    { kind: "error", name: "process_restarted", timestamp: now - 17 * MINUTE, status: "error", error: "openclaw (pid 977) ended, and pid 1204 has started in its place", trace_id: randomUUID(), agent_id: "home-assistant" },
    { kind: "session", name: "start", timestamp: now - 5 * HOUR, trace_id: randomUUID(), session_id: SESSIONS[0] },
    { kind: "gateway", name: "start", timestamp: now - 175 * MINUTE, trace_id: randomUUID() },
    { kind: "log", name: "channels", timestamp: now - 170 * MINUTE, trace_id: randomUUID(), output: "telegram: connected again" },
  ];
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const calls = events.filter((event) => event.kind === "llm_call");
  const today = calls.filter((event) => event.timestamp >= midnight);
  const sum = (list, value) => list.reduce((total, event) => total + (value(event) ?? 0), 0);
  return {
    events: [...events, ...samples(now, 24)],
    giant: giant(now - 9 * HOUR),
    expected: {
      todayCost: sum(today, (event) => event.attributes.cost_usd),
      todayCalls: today.length,
      unpriced: calls.filter((event) => event.name === "house-finetune-7b").length,
      showpiece: {
        cost: sum(show.filter((event) => event.kind === "llm_call"), (event) => event.attributes.cost_usd),
        calls: show.filter((event) => event.kind === "llm_call").length,
        tools: show.filter((event) => event.kind === "tool_call").length,
        events: show.length,
      },
      sessions: SESSIONS,
    },
  };
}

/** Sends events, as many at once as the port takes; what it has no room for is sent again. */
export async function send(ingest, events) {
  for (let from = 0; from < events.length; from += 400) {
    const body = JSON.stringify(events.slice(from, from + 400));
    for (;;) {
      const response = await fetch(`${ingest}/v1/events`, { method: "POST", headers: { "content-type": "application/json" }, body });
      if (response.status === 429) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        continue;
      }
      const answer = await response.json();
      if (response.status !== 200 || answer.rejected.length > 0) throw new Error(`not taken: ${response.status} ${JSON.stringify(answer).slice(0, 400)}`);
      break;
    }
  }
}
