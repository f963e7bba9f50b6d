"""The network between two processes, as a TCP proxy that can be cut.

`open`: bytes pass. `refused`: nobody listens, and what was connected is reset. `stalled`: connections are taken and held,
and no byte passes, as behind a firewall that drops packets; what was in the pipe when it is opened again is reset, as a
peer would do that had given up meanwhile. `deaf`: what the client says passes, the answers do not: the request is carried
out and nobody hears of it.
"""

import asyncio
import contextlib
import socket
import struct
import threading


class Proxy:
    """Listens on `listen` and passes on to `target`; both are (address, port)."""

    def __init__(self, listen: tuple[str, int], target: tuple[str, int], loop: "Loop") -> None:
        self.listen, self.target, self.loop = listen, target, loop
        self.state, self.server = "refused", None
        self.writers: set[asyncio.StreamWriter] = set()
        self.set("open")

    def set(self, state: str) -> None:
        self.loop.call(self._set(state))

    async def _set(self, state: str) -> None:
        before, self.state = self.state, state
        if before != state and state in ("open", "refused"):
            for writer in list(self.writers):
                _reset(writer)
        if state == "refused" and self.server is not None:
            self.server.close()
            self.server = None
        elif state != "refused" and self.server is None:
            self.server = await asyncio.start_server(self._serve, *self.listen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        onward = None
        try:
            while self.state == "stalled":
                await asyncio.sleep(0.05)
            to_reader, onward = await asyncio.open_connection(*self.target)
            self.writers.add(onward)
            await asyncio.gather(self._pipe(reader, onward, "there"), self._pipe(to_reader, writer, "back"))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, onward):
                if end is not None:
                    self.writers.discard(end)
                    end.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        try:
            while data := await reader.read(65536):
                while self.state == "stalled" or (self.state == "deaf" and way == "back"):
                    await asyncio.sleep(0.05)
                writer.write(data)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()
        except OSError:
            _reset(writer)
            raise


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Loop:
    """A thread that all proxies run in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=10)
