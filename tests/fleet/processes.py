"""Processes that the tests own, and end by pid; free ports; waiting."""

import os
import pathlib
import signal
import socket
import subprocess
import time


def free_port() -> int:
    """A port that nobody holds now. (Those below 32768 are not given to outgoing connections.)"""
    for port in range(20000 + os.getpid() % 5000 + len(_taken) * 3, 32000):
        if port in _taken:
            continue
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken.add(port)
        return port
    raise RuntimeError("no free port below 32000")


_taken: set[int] = set()


def wait_until(what: str, seconds: float, condition) -> None:
    """Until `condition()` is true; an exception is as good as false."""
    until, last = time.monotonic() + seconds, None
    while time.monotonic() < until:
        try:
            if condition():
                return
            last = None
        except (OSError, RuntimeError, ValueError) as error:
            last = error
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds:.0f} s in vain: {what}" + (f" ({last})" if last else ""))


class Process:
    """One program; its output goes to a file, which is shown where it ends badly."""

    def __init__(self, name: str, command: list, folder: pathlib.Path, env: dict[str, str]) -> None:
        self.name, self.command, self.folder, self.env = name, [str(part) for part in command], folder, env
        self.log = folder / f"{name}.log"
        self.child: subprocess.Popen | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(self.command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=subprocess.STDOUT)

    def is_up(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def kill(self) -> None:
        """As a power cut or the kernel would: without a word."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        if self.child is None:
            return None
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            code = self.child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait()
        self.child = None
        return code

    def tail(self, lines: int = 30) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
