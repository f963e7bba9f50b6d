"""What agents do: they send events to their sidecars and write down what was acknowledged."""

import random
import threading
import time
import uuid

from program import post

MODELS = [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5"), ("gcp.gemini", "gemini-2.5-pro")]
TOOLS = ["read_file", "exec", "browser", "memory_search"]
VERSIONS = ["2026.4.29", "2026.9.6"]
DAY = 86_400


def event(dice: random.Random, now: float) -> dict:
    """A model call, a tool call or an error; some of last month, as after an outage."""
    at = now - (dice.random() * 35 * DAY if dice.random() < 0.05 else dice.random())
    common = {"trace_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)), "timestamp": round(at * 1000),
              "session_id": f"s{dice.randrange(20)}", "run_id": f"r{dice.randrange(200)}", "duration_ms": round(dice.expovariate(0.001), 3)}
    told = {"service.version": dice.choice(VERSIONS), "n": dice.randrange(1000)}
    failed = dice.random() < 0.1
    if failed:
        common |= {"status": "error", "error": "it took too long", "duration_ms": 30_000.0}
        told["error.type"] = "timeout"
    else:
        common["status"] = "ok"
    if dice.random() < 0.5:
        provider, model = dice.choice(MODELS)
        used = dice.randrange(1, 20_000)
        told |= {"gen_ai.provider.name": provider, "gen_ai.request.model": model, "gen_ai.operation.name": "chat",
                 "gen_ai.usage.input_tokens": used, "gen_ai.usage.output_tokens": dice.randrange(1, 2000), "cost_usd": used / 500_000}
        return common | {"kind": "llm_call", "name": model, "input": [{"role": "user", "content": "wörds \n\t\u0000 \U0001f600 'quoted' \\ {}"}],
                         "output": "x" * dice.randrange(400), "attributes": told}
    tool = dice.choice(TOOLS)
    told |= {"gen_ai.tool.name": tool, "gen_ai.operation.name": "execute_tool"}
    return common | {"kind": "tool_call", "name": tool, "input": {"path": "/data/notes.md"}, "output": "y" * dice.randrange(400), "attributes": told}


class Agent(threading.Thread):
    """Sends a batch until it is acknowledged, then the next; now and then one again that was acknowledged before."""

    def __init__(self, name: str, url: str, seed: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.agent, self.url, self.dice, self.pause = name, url, random.Random(f"{seed}/{name}"), pause
        self.acknowledged: dict[str, dict] = {}
        self.repeats = 0
        self.ending = threading.Event()

    def run(self) -> None:
        last: list[dict] = []
        while not self.ending.is_set():
            if last and self.dice.random() < 0.05:
                batch, self.repeats = last, self.repeats + 1
            else:
                batch = [event(self.dice, time.time()) for _ in range(self.dice.randrange(1, 60))]
            # What was not acknowledged is sent on and on, so that in the end all that was offered is.
            while post(self.url, batch) != 200:
                time.sleep(0.1)
            self.acknowledged |= {event["trace_id"]: event for event in batch}
            last = batch
            time.sleep(self.pause)

    def finish(self) -> None:
        self.ending.set()
        self.join(timeout=60)
        if self.is_alive():
            raise SystemExit(f"the sidecar of {self.agent} acknowledges nothing")
