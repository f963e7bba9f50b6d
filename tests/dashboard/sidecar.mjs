// The real binary, with a database of its own.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

const wait = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** Tries until it holds; how long that takes says nothing. */
export async function eventually(what, holds) {
  for (let tries = 0; tries < 600; tries += 1) {
    if (await holds()) return;
    await wait(100);
  }
  throw new Error(`never: ${what}`);
}

export async function start(env = {}) {
  const home = mkdtempSync(join(tmpdir(), "dashboard-"));
  const [ingest, api] = [await freePort(), await freePort()];
  const child = spawn(process.env.BINARY, ["run"], {
    cwd: home,
    stdio: ["ignore", "inherit", "inherit"],
    // Samples are made up, so that the figures are known: the real ones stay away.
    env: { PATH: process.env.PATH, TRACE_PORT: String(ingest), TRACE_API_PORT: String(api), TRACE_DB_PATH: join(home, "trace.db"), TRACE_METRICS_INTERVAL: "1h", TRACE_LOG_LEVEL: "error", ...env },
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const url = (port) => `http://127.0.0.1:${port}`;
  await eventually("the sidecar answers", () => fetch(`${url(api)}/readyz`).then((answer) => answer.ok, () => false));
  return {
    ingest: url(ingest),
    api: url(api),
    /** Until all that is stored is summed up. */
    summed: (token) => eventually("the sums are made", async () => {
      const answer = await fetch(`${url(api)}/api/v1/status`, { headers: token ? { authorization: `Bearer ${token}` } : {} });
      const status = await answer.json();
      return status.store?.rollup_behind === 0;
    }),
    async stop() {
      child.kill("SIGTERM");
      await ended;
      rmSync(home, { recursive: true, force: true });
    },
  };
}
