"""The program under test, as a sidecar and as a gateway."""

import json
import os
import pathlib
import subprocess
import urllib.error
import urllib.request

from cluster import DATABASE, USER
from processes import Process, free_port, wait_until
from proxy import Loop, Proxy


SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "config/fleet-gateway.toml"


class Program:
    """One instance, in a folder of its own."""

    def __init__(self, name: str, binary: pathlib.Path, folder: pathlib.Path, config: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.ingest, self.api = name, free_port(), free_port()
        head = (f'[runtime]\nlog_level = "info"\ndrain_timeout = "20s"\nmax_in_flight_events = 16384\nmax_in_flight_bytes = "64MiB"\n'
                f'[api]\nbind = "127.0.0.1:{self.api}"\n')
        (folder / "config.toml").write_text(head + config.replace("INGEST", f"127.0.0.1:{self.ingest}"))
        self.process = Process(name, [binary, "--config", "config.toml"], folder, {"PATH": os.environ["PATH"]})
        self.kept: dict[str, float] = {}

    def start(self) -> None:
        self.process.start()

        def answers() -> bool:
            if not self.process.is_up():
                raise SystemExit(f"{self.name} ended:\n{self.process.tail()}")
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/healthz", timeout=5):
                return True
        wait_until(f"{self.name} answers", 30, answers)

    def kill(self) -> None:
        self.remember()
        self.process.kill()

    def stop(self) -> None:
        self.remember()
        code = self.process.end()
        if code != 0:
            raise SystemExit(f"an orderly stop of {self.name} ended with {code}:\n{self.process.tail()}")

    def metric(self, name: str) -> float:
        """The sum over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if line.startswith((f"openclaw_trace_{name}{{", f"openclaw_trace_{name} ")))

    def remember(self) -> None:
        """Counters begin anew with each start."""
        for name in ("push_requests_total", "push_retries_total", "push_events_total"):
            try:
                self.kept[name] = self.kept.get(name, 0) + self.metric(name)
            except OSError:
                pass

    def total(self, name: str) -> int:
        return round(self.kept.get(name, 0) + self.metric(name))


def sidecar(name: str, binary: pathlib.Path, folder: pathlib.Path, gateway: str, token: str) -> Program:
    """Takes events, keeps them, and pushes them on as soon as it can."""
    return Program(name, binary, folder, f"""
[sources.ingest]
type = "http_ingest"
bind = "INGEST"
[transforms.redact]
type = "redact"
inputs = ["ingest"]
[sinks.store]
type = "sqlite_store"
inputs = ["redact"]
path = "trace.db"
retention_days = 0
[sinks.push]
type = "augmi_push"
inputs = ["store"]
endpoint = "{gateway}/v1/batches"
token = "{token}"
agent_id = "{name}"
interval = "200ms"
batch_events = 300
timeout = "6s"
max_tries = 3
base_delay = "100ms"
max_delay = "1s"
breaker_cooldown = "1s"
""")


class Gateway(Program):
    """The configuration that ships, with ports, files and times of this test; `outbox` puts its store between."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, agents: dict[str, str], nodes: list[str], password: str,
                 loop: Loop, settings: dict[str, str], outbox: bool = False) -> None:
        folder.mkdir(parents=True)
        self.tokens = {}
        for agent, org in agents.items():
            made = subprocess.run([binary, "token", "--agent", agent, "--org", org, "--file", folder / "tokens"],
                                  check=True, capture_output=True, text=True)
            self.tokens[agent] = made.stdout.strip()
        super().__init__("gateway", binary, folder)
        keys = {"api.bind": f"127.0.0.1:{self.api}", "sources.ingest.bind": f"127.0.0.1:{self.ingest}",
                "sources.ingest.agent_rate_limit": "0",
                "sinks.fleet.database": DATABASE, "sinks.fleet.batch_age": "200ms", "sinks.fleet.timeout": "3s",
                "sinks.fleet.base_delay": "50ms", "sinks.fleet.max_delay": "1s", "sinks.fleet.breaker_cooldown": "1s",
                "sinks.fleet.endpoints": ",".join(nodes)}
        keys |= {f"sinks.fleet.{key}": value for key, value in settings.items()}
        if outbox:
            keys |= {"sinks.fleet.inputs": "store", "sinks.store.enabled": "true", "sinks.store.retention_days": "0",
                     "sinks.store.disk_reserve": "64MiB"}
        self.process.command = [str(binary), "--config", str(SHIPPED)]
        for key, value in keys.items():
            self.process.command += ["--set", f"{key}={value}"]
        # What is secret comes as it would: by the environment.
        self.process.env |= {"GATEWAY_TOKENS": "tokens", "GATEWAY_DB": "outbox.db", "CLICKHOUSE_USER": USER, "CLICKHOUSE_PASSWORD": password}
        self.wire = Proxy(("127.0.0.1", free_port()), ("127.0.0.1", self.ingest), loop)

    def url(self) -> str:
        """Where sidecars push: through a wire that can be cut."""
        return f"http://127.0.0.1:{self.wire.listen[1]}"


def post(url: str, events: list[dict], seconds: float = 30) -> int:
    """The status of the answer; 0 where none came."""
    request = urllib.request.Request(f"{url}/v1/events", data=json.dumps(events).encode(), method="POST",
                                     headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
