"""A ClickHouse of today without a server: chdb, embedded, behind as much of the HTTP interface as the sink uses.

usage: modern.py PORT FOLDER    runs until it is ended. One that is told `POST /deaf?requests=N` carries out the next N
inserts and answers nothing. Runs with the Python that has chdb.
"""

import gzip
import http.server
import re
import sys
import threading
import urllib.parse

import zstandard
from chdb import session

# Of the interface, and no settings.
NOT_SETTINGS = {"query", "database", "wait_end_of_query"}


class Interface(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    database = None
    lock = threading.Lock()
    deaf = 0

    def do_POST(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        parameters = dict(urllib.parse.parse_qsl(address.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if address.path == "/deaf":
            Interface.deaf = int(parameters["requests"])
            self.answer(200, b"")
            return
        match self.headers.get("Content-Encoding"):
            case "gzip":
                body = gzip.decompress(body)
            case "zstd":
                body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        settings = {name: value for name, value in parameters.items() if name not in NOT_SETTINGS}
        statement = parameters.get("query", "")
        try:
            with self.lock:
                text = self.ask(statement, settings, body.decode())
        except RuntimeError as error:
            self.answer(404 if "UNKNOWN_" in str(error) else 500, str(error).encode())
            return
        if statement and Interface.deaf > 0:
            Interface.deaf -= 1
            self.close_connection = True
            return
        self.answer(200, text)

    def ask(self, statement: str, settings: dict[str, str], body: str) -> bytes:
        form = "TabSeparatedRaw"
        if statement.startswith("INSERT"):
            said = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
            head, rows = statement.rsplit(" FORMAT ", 1)
            sql = f"{head} SETTINGS {said} FORMAT {rows}\n{body}"
        else:
            sql = statement + body
            if named := re.search(r"\sFORMAT\s+(\w+)\s*$", sql):
                form, sql = named.group(1), sql[: named.start()]
        return self.database.query(sql, form).bytes() or b""

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    Interface.database = session.Session(sys.argv[2])
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Interface).serve_forever()
