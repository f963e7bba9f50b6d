// Every view in a browser, with data that came in through the ingest port.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { HOSTILE_NAME, HOSTILE_RUN, HOSTILE_SESSION, life, send } from "./seed.mjs";
import { start } from "./sidecar.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PICTURES = process.env.PICTURES;
const WIDE = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

let browser;
let sidecar;
let expected;

before(async () => {
  sidecar = await start();
  const { events, giant, expected: told } = life();
  expected = told;
  await send(sidecar.ingest, events);
  await send(sidecar.ingest, giant);
  await sidecar.summed();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
});

after(async () => {
  await browser?.close();
  await sidecar?.stop();
});

/** A page that notes what it must not do. `fine` says which console messages belong to the test. */
async function open(hash, { viewport = WIDE, theme = "light", fine = () => false, base = sidecar.api, bypassCSP = false } = {}) {
  // Violations of the policy come as console errors.
  const context = await browser.newContext({ viewport, colorScheme: theme, bypassCSP });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && !fine(message.text()) && wrong.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${base}/`) && !url.startsWith("data:") && !url.startsWith("blob:")) wrong.push(`request: ${url}`);
  });
  await page.goto(`${base}/${hash}`);
  page.done = async () => {
    assert.equal(await page.evaluate(() => window.__pwned), undefined, "a stored text ran as a script");
    assert.deepEqual(wrong, []);
    await context.close();
  };
  return page;
}

const see = (page, text, options = {}) => page.getByText(text, { exact: false, ...options }).filter({ visible: true }).first().waitFor();
const main = (page) => page.locator("main").innerText();
const money = (value) => (value < 1 ? `$${value.toFixed(4)}` : `$${value.toFixed(2)}`);
const picture = (page, name) => page.screenshot({ path: join(PICTURES, `${name}.png`) });

async function settled(page) {
  await page.waitForFunction(() => !document.querySelector(".waiting") && document.querySelector("main h1"));
}

test("now: today's figures, the machine, the latest runs, and events that come while one looks", async () => {
  const page = await open("");
  await see(page, "Latest runs");
  await page.waitForFunction(([cost, calls]) => {
    const text = [...document.querySelectorAll(".tile")].map((tile) => tile.textContent).join("|");
    return text.includes(`Spend today${cost}`) && text.includes(`Model calls today${calls}`);
  }, [money(expected.todayCost), expected.todayCalls]);
  const text = await main(page);
  assert.match(text, /Memory\s+2\d\d MiB\s+\d+ % of 512 MiB/);
  assert.match(text, /Disk\s+687 MiB\s+74 % of 929 MiB/);
  assert.match(text, /process_restarted/);
  await page.locator(".live.live").waitFor();
  await send(sidecar.ingest, [{ kind: "tool_call", name: "came_just_now", status: "ok", duration_ms: 5, run_id: "fresh", session_id: "fresh" }]);
  await see(page, "came_just_now");

  await page.getByRole("button", { name: "Pause" }).click();
  await send(sidecar.ingest, [{ kind: "tool_call", name: "came_while_paused", status: "error", error: "no", run_id: "fresh" }]);
  await see(page, "paused, 1 new");
  assert.equal(await page.getByText("came_while_paused").count(), 0);
  await page.getByRole("button", { name: "Go on" }).click();
  await see(page, "came_while_paused");

  await page.getByRole("button", { name: "Failed" }).first().click();
  await page.waitForFunction(() => {
    const names = [...document.querySelectorAll(".tail .event")].map((row) => row.textContent);
    return names.some((name) => name.includes("came_while_paused")) && !names.some((name) => name.includes("came_just_now"));
  });
  await page.done();
});

test("sessions lead to a session, that to a run, and back", async () => {
  const page = await open("#/sessions");
  for (const session of expected.sessions) await see(page, session.slice(0, 30));
  await picture(page, "sessions");
  await page.getByRole("link", { name: expected.sessions[0] }).click();
  await see(page, "Cost so far");
  await page.getByRole("row").filter({ hasText: "showpiece" }).waitFor();
  await page.locator(".u-wrap canvas").waitFor();
  await picture(page, "session");
  await page.getByRole("row").filter({ hasText: "showpiece" }).getByRole("link").first().click();
  await page.getByRole("tree").waitFor();
  await page.goBack();
  await see(page, "Runs, in order");
  await page.goBack();
  await see(page, expected.sessions[1]);
  await page.done();
});

test("a run: head, waterfall, retries, the event with its conversation", async () => {
  const page = await open("#/run/showpiece");
  await page.getByRole("tree").waitFor();
  const { showpiece } = expected;
  const head = await page.locator(".run-head").innerText();
  assert.match(head, /42\.1 s/);
  assert.ok(head.includes(money(showpiece.cost)), head);
  assert.match(head, new RegExp(`Model calls\\s+${showpiece.calls}\\s+Tool calls\\s+${showpiece.tools}\\s+Errors\\s+3`));
  assert.match(head, /3 retries/);
  assert.equal(await page.getByRole("treeitem").count(), showpiece.events);
  await see(page, "retry 2");
  const levels = await page.getByRole("treeitem").evaluateAll((rows) => rows.map((row) => row.getAttribute("aria-level")));
  assert.deepEqual([...new Set(levels)].sort(), ["1", "2", "3"]);

  await page.getByRole("treeitem", { name: /claude-sonnet-4-5.*retry 2/ }).click();
  const detail = page.getByRole("region", { name: "Event" });
  await detail.getByText("Remind me to water the plants on Sunday.").waitFor();
  assert.match(await detail.innerText(), /18,204 in \(16\.4k cached\) · 412 out/);
  await detail.getByRole("tab", { name: "Output" }).click();
  await detail.getByText("I will look at the log and at the disk.").waitFor();
  await detail.getByText("tail -n 50 /var/log/backup.log").waitFor();
  await picture(page, "run");
  await detail.getByRole("tab", { name: "Attributes" }).click();
  await detail.getByText("gen_ai.request.model").waitFor();
  await detail.getByRole("tab", { name: "JSON" }).click();
  await detail.getByText('"received_at"').waitFor();

  // A long text is cut, and can be had whole.
  await page.getByRole("treeitem", { name: /Tool call: exec.*820 ms/ }).click();
  await detail.getByRole("tab", { name: "Output" }).click();
  const output = detail.getByRole("tabpanel");
  await output.getByText("wrote archive part 3 ").waitFor();
  await page.done();
});

test("a run by keyboard alone", async () => {
  const page = await open("#/run/showpiece");
  await page.getByRole("tree").waitFor();
  const now = (label) => page.waitForFunction((wanted) => document.querySelector("[role=treeitem][aria-selected=true]")?.textContent.startsWith(wanted), label);
  await now("Run: user");
  await page.keyboard.press("e");
  await now("Model call, failed: claude-sonnet-4-5");
  await page.keyboard.press("ArrowLeft");
  await now("Run: user");
  await page.keyboard.press("ArrowLeft");
  assert.equal(await page.locator("[role=treeitem][aria-selected=true]").getAttribute("aria-expanded"), "false");
  assert.equal(await page.getByRole("treeitem").count(), 2);
  // What is folded away is opened where the next error stands.
  await page.keyboard.press("e");
  await now("Model call, failed: claude-sonnet-4-5");
  await page.keyboard.press("/");
  await page.keyboard.type("No space left");
  await see(page, "match");
  await page.keyboard.press("Enter");
  // The words stand only in bodies: the store was asked.
  await page.waitForFunction(() => document.querySelectorAll(".row.match").length >= 2);
  await page.keyboard.press("n");
  await page.locator(".detail mark").first().waitFor();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement?.classList.contains("detail"));
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.activeElement?.getAttribute("role") === "tree");
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await page.waitForFunction(() => location.hash === "#/events");
  await page.keyboard.press("?");
  await see(page, "search inside the run");
  await page.done();
});

test("a run of 20,000 events shows at once, and any of them can be reached", async () => {
  const page = await open("#/run/giant");
  await page.getByRole("tree").waitFor();
  assert.ok(await page.getByRole("treeitem").count() < 120, "only what is seen is in the page");
  assert.match(await page.locator(".run-head").innerText(), /19,999/);
  await page.keyboard.press("End");
  await page.keyboard.press("e");
  await page.waitForFunction(() => document.querySelector("[aria-selected=true].bad"));
  await see(page, "the one that failed");
  await page.keyboard.press("/");
  await page.keyboard.type("needle_tool");
  await page.getByText("1 match", { exact: true }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("treeitem", { name: /needle_tool/, selected: true }).waitFor();
  // Circles are in the tree too.
  await page.locator("input[placeholder='Search inside the run']").fill("loop-");
  await page.waitForFunction(() => /^[23] matches$/.test(document.querySelector(".found")?.textContent ?? ""));
  await picture(page, "run-giant");
  await page.done();
});

test("events: filters stand in the address, older ones are loaded, a rare one is sought on", async () => {
  const page = await open("#/events?kind=error&status=error");
  await see(page, "the kernel killed a process");
  assert.equal(await page.locator(".event .kind").filter({ hasNotText: "Error" }).count(), 0);
  await page.getByRole("button", { name: /oom_kill/ }).click();
  await page.getByRole("region", { name: "Event" }).getByText("oom_kill").first().waitFor();
  assert.match(page.url(), /event=/);
  await page.goto(`${sidecar.api}/#/events?q=needle_tool`);
  await page.getByRole("button", { name: /needle_tool/ }).waitFor();
  await page.goto(`${sidecar.api}/#/events`);
  await page.getByRole("button", { name: "Load older events" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".event").length > 150);
  await page.getByRole("searchbox", { name: "Tool", exact: true }).fill("web_fetch");
  await page.waitForFunction(() => location.hash.includes("tool=web_fetch") && document.querySelectorAll(".event").length > 0 && [...document.querySelectorAll(".event-name")].every((name) => name.textContent === "web_fetch"));
  const link = await page.getByRole("link", { name: "CSV" }).getAttribute("href");
  const csv = await (await fetch(new URL(link, sidecar.api))).text();
  assert.match(csv, /web_fetch/);
  assert.doesNotMatch(csv, /claude-sonnet/);
  await page.goto(`${sidecar.api}/#/events?q=nothing-says-this-anywhere`);
  await see(page, "No event fits");
  await page.done();
});

test("models and tools: figures, sorted as asked", async () => {
  const page = await open("#/models?from=7d");
  const models = page.getByRole("table", { name: "Models" });
  await models.getByRole("rowheader", { name: /claude-sonnet-4-5/ }).waitFor();
  const names = () => models.locator("tbody th .row-link").allInnerTexts();
  await models.getByRole("button", { name: "Cost" }).click();
  assert.equal((await names())[0], "claude-sonnet-4-5");
  await models.getByRole("button", { name: "Cost" }).click();
  assert.notEqual((await names())[0], "claude-sonnet-4-5");
  assert.match(await models.getByRole("row").filter({ hasText: "house-finetune-7b" }).innerText(), new RegExp(`${expected.unpriced}\\b[^]*no price`));
  await page.getByRole("table", { name: "Tools" }).getByRole("rowheader", { name: "memory_search" }).waitFor();
  await page.done();
});

test("cost: by model over time, and what has no price is said", async () => {
  const page = await open("#/cost");
  await see(page, `${expected.unpriced} calls without a price.`);
  await page.locator(".u-wrap canvas").waitFor();
  const chart = await page.getByRole("img", { name: /Cost over time/ }).getAttribute("aria-label");
  assert.match(chart, /claude-sonnet-4-5 \$\d/);
  await see(page, "Dearest sessions");
  await page.getByRole("button", { name: "24h" }).click();
  await page.waitForFunction(() => location.hash === "#/cost?from=24h");
  await page.done();
});

test("resources: charts on one axis, with what went wrong", async () => {
  const page = await open("#/resources?from=6h");
  for (const title of ["CPU", "Memory", "Pressure", "Disk", "Network"]) await page.getByRole("heading", { name: new RegExp(`^${title}`) }).first().waitFor();
  const memory = await page.getByRole("img", { name: /^Memory/ }).getAttribute("aria-label");
  assert.match(memory, /limit now 512 MiB/);
  await see(page, "the kernel killed a process of the agent");
  await page.locator(".u-over").first().scrollIntoViewIfNeeded();
  // Drawing over one chart looks closer on all.
  const box = await page.locator(".u-over").first().boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 5 });
  await page.mouse.up();
  await page.waitForFunction(() => /from=2.*to=2/.test(location.hash));
  await page.getByRole("button", { name: /–/ }).click();
  await page.waitForFunction(() => location.hash === "#/resources");
  await page.done();
});

test("pipeline: the graph, the figures, and words for them", async () => {
  const page = await open("#/pipeline");
  await page.getByRole("img", { name: /store reads truncate/ }).waitFor();
  const text = await main(page);
  assert.match(text, /Nothing needs a person/);
  assert.match(text, /Model calls without a price/);
  await page.getByRole("cell", { name: "store_commit_seconds_count" }).waitFor();
  await page.done();
});

const VIEWS = {
  now: "", sessions: "#/sessions", session: () => `#/session/${encodeURIComponent(expected.sessions[0])}`, runs: "#/runs", run: "#/run/showpiece", events: "#/events",
  models: "#/models", cost: "#/cost", resources: "#/resources?from=6h", pipeline: "#/pipeline",
};
const hashOf = (view) => (typeof view === "function" ? view() : view);

for (const theme of ["light", "dark"]) {
  for (const [size, viewport] of Object.entries({ wide: WIDE, phone: PHONE })) {
    test(`every view is well made: ${theme}, ${size}`, async (t) => {
      for (const [name, view] of Object.entries(VIEWS)) {
        await t.test(name, async () => {
          const page = await open(hashOf(view), { theme, viewport });
          await settled(page);
          await page.waitForLoadState("networkidle", { timeout: 3000 }).catch(() => {});
          assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
          const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(over <= 0, `the page is ${over} px wider than the window`);
          assert.equal(await page.locator("main h1").count(), 1);
          if (name !== "session" && name !== "run") assert.equal(await page.locator("nav [aria-current=page]").count(), 1);
          await picture(page, `${name}-${theme}-${size}`);
          await page.done();
          await accessible(hashOf(view), { theme, viewport });
        });
      }
    });
  }
}

/** Graver faults that axe knows. It is a script of its own, so here the policy is off. */
async function accessible(hash, options, act = () => {}) {
  const page = await open(hash, { ...options, bypassCSP: true });
  await settled(page);
  await act(page);
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(grave.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join(" | ")}`), []);
  await page.done();
}

test("what opens over a view is well made too", async () => {
  for (const theme of ["light", "dark"]) {
    await accessible("#/run/showpiece", { theme, viewport: PHONE }, async (page) => {
      await page.getByRole("treeitem", { name: /claude-sonnet-4-5.*retry 2/ }).click();
      await see(page, "Remind me to water the plants");
    });
    await accessible("#/events", { theme }, async (page) => {
      // By the arrows, as in a list of mails.
      await page.getByRole("button", { name: /claude-sonnet-4-5/ }).first().focus();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowUp");
      await page.keyboard.press("Enter");
      await page.getByRole("region", { name: "Event" }).getByRole("tab", { name: "Attributes" }).click();
      await see(page, "gen_ai.request.model");
    });
    await accessible("#/runs", { theme }, async (page) => {
      await page.keyboard.press("?");
      await see(page, "search inside the run");
    });
  }
});

test("hostile text is text, in every view", async () => {
  const run = `#/run/${encodeURIComponent(HOSTILE_RUN)}`;
  const session = `#/session/${encodeURIComponent(HOSTILE_SESSION)}`;
  for (const hash of ["", "#/sessions", session, "#/runs", run, "#/events?status=error", `#/events?model=${encodeURIComponent(HOSTILE_NAME)}`, "#/models", "#/cost", "#/resources?from=24h"]) {
    const page = await open(hash);
    await settled(page);
    await page.waitForFunction(() => document.querySelector("main").textContent.includes("onerror=") || document.querySelector("main").textContent.includes("srcdoc="));
    assert.equal(await page.locator("img, iframe, script:not([src]), [onload], [onerror], [onclick], main svg[onload]").count(), 0, hash);
    const raw = await page.evaluate(() => /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText + document.title + [...document.querySelectorAll("[title], [aria-label]")].map((one) => one.title + one.getAttribute("aria-label")).join()));
    assert.equal(raw, false, `${hash}: a control character is there as it is`);
    await page.done();
  }
  const page = await open(run);
  await page.getByRole("treeitem", { name: /^Model call/ }).click();
  const detail = page.getByRole("region", { name: "Event" });
  for (const tab of ["Input", "Output", "Attributes", "JSON"]) {
    await detail.getByRole("tab", { name: tab }).click();
    await detail.getByRole("tabpanel").getByText("<script>").first().waitFor();
    assert.match(await detail.getByRole("tabpanel").innerText(), /\\u\{202e\}/);
  }
  await picture(page, "hostile");
  // Its links lead where they say.
  await page.getByRole("link", { name: /iframe srcdoc/ }).first().click();
  await see(page, "Runs, in order");
  await page.done();
});

test("with a token: asked for once, kept for the tab, sent with the stream too", async () => {
  const token = "a-token-of-the-test";
  const guarded = await start({ TRACE_API_TOKEN: token });
  try {
    await send(guarded.ingest, [{ kind: "tool_call", name: "behind_a_token", run_id: "r", status: "ok" }]);
    const page = await open("#/events", { base: guarded.api, fine: (text) => text.includes("401") });
    await see(page, "A token is needed");
    await picture(page, "token");
    assert.equal(await page.getByText("behind_a_token").count(), 0);
    await page.getByLabel("Token", { exact: true }).fill("not it");
    await page.getByRole("button", { name: "Open" }).click();
    await see(page, "A token is needed");
    await page.getByLabel("Token", { exact: true }).fill(token);
    await page.keyboard.press("Enter");
    await see(page, "behind_a_token");
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: "NDJSON" }).click();
    assert.match(readFileSync(await (await saved).path(), "utf8"), /behind_a_token/);
    await page.goto(`${guarded.api}/#/`);
    await page.locator(".live.live").waitFor();
    await send(guarded.ingest, [{ kind: "tool_call", name: "streamed_behind_a_token", run_id: "r", status: "ok" }]);
    await see(page, "streamed_behind_a_token");
    assert.equal(await page.evaluate(() => localStorage.length), 0);
    await page.done();
  } finally {
    await guarded.stop();
  }
});

test("an empty store says how to fill it", async () => {
  const empty = await start();
  try {
    for (const [hash, words] of [["", "No runs yet"], ["#/sessions", "No sessions yet"], ["#/runs", "No runs yet"], ["#/events", "No events yet"], ["#/models", "No model calls in this time"], ["#/cost", "No model calls in this time"], ["#/resources", "No samples in this time"]]) {
      const page = await open(hash, { base: empty.api });
      await see(page, words);
      await page.done();
    }
    const page = await open("#/run/none", { base: empty.api, fine: (text) => text.includes("404") });
    await see(page, "There is no such run");
    await page.done();
  } finally {
    await empty.stop();
  }
});

test("on a phone, an event covers the run and gives it back", async () => {
  const page = await open("#/run/showpiece", { viewport: PHONE });
  await page.getByRole("treeitem", { name: /claude-sonnet-4-5.*retry 2/ }).click();
  const dialog = page.getByRole("dialog", { name: "Event" });
  await dialog.waitFor();
  const box = await dialog.boundingBox();
  assert.deepEqual([box.x, box.width], [0, PHONE.width]);
  await dialog.getByText("Remind me to water the plants").waitFor();
  await see(page, "14 earlier messages of the conversation were not kept");
  await picture(page, "run-detail-phone");
  for (let press = 0; press < 30; press += 1) {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.closest(".detail") !== null), true, "the focus went below what covers the page");
  }
  await dialog.getByRole("button", { name: "Back to the run" }).click();
  await page.waitForFunction(() => !document.querySelector(".detail"));
  await page.done();
});

test("the files come with their policy, once, and to no other name", async () => {
  const page = await fetch(`${sidecar.api}/`);
  const policy = ["base-uri 'none'", "connect-src 'self'", "default-src 'none'", "form-action 'none'", "frame-ancestors 'none'", "img-src 'self' data:", "script-src 'self'", "style-src 'self'"];
  assert.deepEqual(page.headers.get("content-security-policy").split(";").map((part) => part.trim()).sort(), policy);
  const wanted = { "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin", "cache-control": "no-cache", "content-type": "text/html; charset=utf-8", "content-encoding": "gzip" };
  for (const [name, value] of Object.entries(wanted)) assert.equal(page.headers.get(name), value, name);
  assert.doesNotMatch(await page.text(), / style=|<script>|onclick/);
  const again = await fetch(`${sidecar.api}/app.js`, { headers: { "if-none-match": (await fetch(`${sidecar.api}/app.js`)).headers.get("etag") } });
  assert.equal(again.status, 304);
  // A name of someone else that was made to point here (DNS rebinding).
  const status = await new Promise((resolve, reject) => request(`${sidecar.api}/`, { headers: { host: "evil.example" } }, (answer) => resolve(answer.statusCode)).on("error", reject).end());
  assert.equal(status, 403);
});

test("light or dark is a choice that is kept", async () => {
  const page = await open("#/pipeline");
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), "light");
  await page.getByRole("button", { name: "Light or dark" }).click();
  assert.equal(await theme(), "dark");
  await page.reload();
  assert.equal(await theme(), "dark");
  await page.done();
});

test("a stream that breaks is taken up behind the last event, and let go while nobody looks", async () => {
  const page = await open("#/pipeline");
  await page.clock.install();
  const asked = [];
  await page.route("**/api/v1/stream*", async (route) => {
    asked.push(route.request().headers()["last-event-id"]);
    if (asked.length > 1) return route.continue();
    const row = { trace_id: "0", id: 1, kind: "log", name: "came_before_the_break", timestamp: new Date().toISOString() };
    await route.fulfill({ contentType: "text/event-stream", body: `: connected\n\nevent: event\nid: 1\ndata: ${JSON.stringify(row)}\n\n` });
  });
  await page.getByRole("link", { name: "Now" }).click();
  await page.clock.runFor(1000);
  await see(page, "came_before_the_break");
  await page.clock.runFor(3000);
  await page.locator(".live.live").waitFor();
  assert.deepEqual(asked, [undefined, "1"]);

  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await page.clock.runFor(61_000);
  await page.locator(".live.asleep").waitFor();
  await hide(false);
  await page.clock.runFor(1000);
  await page.locator(".live.live").waitFor();
  assert.equal(asked.length, 3);
  assert.ok(Number(asked[2]) >= 1);
  await page.done();
});
