import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { readSettings } from "../src/settings.js";

const manifest = JSON.parse(readFileSync(new URL("../openclaw.plugin.json", import.meta.url), "utf8"));

test("without anything the defaults are used, and the manifest tells the same", () => {
  const { settings, problems } = readSettings(undefined, {});
  assert.deepEqual(problems, []);
  const { properties } = manifest.configSchema;
  assert.deepEqual(Object.keys(settings).sort(), Object.keys(properties).sort());
  for (const [name, value] of Object.entries(settings)) {
    if (name !== "token") assert.deepEqual(properties[name].default, value, name);
  }
});

test("variables win over the configuration", () => {
  const env = { OPENCLAW_TRACE_ENDPOINT: "http://localhost:9999/", OPENCLAW_TRACE_CONTENT: "off", OPENCLAW_TRACE_SAMPLE: "0.5", OPENCLAW_TRACE_TOKEN: "from-the-environment", OPENCLAW_TRACE_MAX_QUEUE_EVENTS: "7" };
  const config = { endpoint: "http://127.0.0.1:1", content: true, sample: 1, token: "from-the-file", maxQueueEvents: 9, maxQueueBytes: 70_000 };
  const { settings, problems } = readSettings(config, env);
  assert.deepEqual(problems, []);
  assert.equal(settings.endpoint, "http://localhost:9999");
  assert.equal(settings.content, false);
  assert.equal(settings.sample, 0.5);
  assert.equal(settings.token, "from-the-environment");
  assert.equal(settings.maxQueueEvents, 7);
  assert.equal(settings.maxQueueBytes, 70_000);
});

test("each bad value is one line that names it, and what stood before it is used", () => {
  const env = { OPENCLAW_TRACE_ENDPOINT: "127.0.0.1:9090", OPENCLAW_TRACE_SAMPLE: "2", OPENCLAW_TRACE_CONTENT: "maybe", OPENCLAW_TRACE_MAX_QUEUE_BYTES: "1k" };
  const { settings, problems } = readSettings({ sample: 0.25, maxQueueEvents: -1, endpiont: "x" }, env);
  assert.equal(settings.endpoint, "http://127.0.0.1:9090");
  assert.equal(settings.sample, 0.25);
  assert.equal(settings.content, true);
  assert.equal(problems.length, 6);
  for (const name of ["OPENCLAW_TRACE_ENDPOINT", "OPENCLAW_TRACE_SAMPLE", "OPENCLAW_TRACE_CONTENT", "OPENCLAW_TRACE_MAX_QUEUE_BYTES", "config.maxQueueEvents", "config.endpiont"]) {
    assert.equal(problems.filter((line) => line.startsWith(name)).length, 1, name);
  }
});

test("a token that cannot be sent is never repeated in a message", () => {
  const { settings, problems } = readSettings({}, { OPENCLAW_TRACE_TOKEN: "hush\nhush" });
  assert.equal(settings.token, "");
  assert.equal(problems.length, 1);
  assert.ok(!problems[0].includes("hush"));
});

test("an address with a password is refused without repeating it", () => {
  const { settings, problems } = readSettings({ endpoint: "http://me:hush@127.0.0.1:9090" }, {});
  assert.equal(settings.endpoint, "http://127.0.0.1:9090");
  assert.ok(!problems[0].includes("hush"));
});
