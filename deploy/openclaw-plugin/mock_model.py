"""A model for tests: OpenAI-compatible, on loopback, without a model.

What the user's last message holds decides the answer: TOOL first a call of a tool, then text; FAIL a
status 500; anything else text. Every request is counted, and what it was told to have cost is kept.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "All is well in here."
COMMAND = "echo told-by-a-tool"
FAILURE = "the model fell over"


class MockModel:
    """Serves until `stop`. `served` lists the usage of each answer under the name in `turn`."""

    def __init__(self):
        self.turn = ""
        self.served = {}
        self.failed = {}
        self.lock = threading.Lock()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(200, {"object": "list", "data": [{"id": "mock-1", "object": "model", "owned_by": "mock"}]})

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                kind = wanted(request)
                if kind == "fail":
                    with model.lock:
                        model.failed[model.turn] = model.failed.get(model.turn, 0) + 1
                    return self.answer(500, {"error": {"message": FAILURE, "type": "server_error"}})
                usage, number = model.count()
                self.stream(request, kind, usage, number)

            def answer(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def stream(self, request, kind, usage, number):
                head = {"id": f"answer-{number}", "created": 0, "model": request.get("model", "mock-1")}
                message = {"role": "assistant", "content": ANSWER}
                reason = "stop"
                if kind == "tool":
                    call = {"id": f"call-{number}", "type": "function", "function": {"name": "exec", "arguments": json.dumps({"command": COMMAND})}}
                    message = {"role": "assistant", "tool_calls": [{"index": 0, **call}]}
                    reason = "tool_calls"
                if not request.get("stream"):
                    choice = {"index": 0, "message": message, "finish_reason": reason}
                    return self.answer(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                chunks = [
                    [{"index": 0, "delta": message, "finish_reason": None}],
                    [{"index": 0, "delta": {}, "finish_reason": reason}],
                ]
                for choices in chunks:
                    self.event({**head, "object": "chat.completion.chunk", "choices": choices})
                self.event({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
                self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def event(self, body):
                self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self):
        """Usage of one answer; different each time, so that a mix-up of two calls shows."""
        with self.lock:
            number = sum(len(answers) for answers in self.served.values()) + 1
            prompt, cached, completion, reasoning = 12_000 + 7 * number, 10_000 + number, 300 + number, 40 + number
            usage = {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            }
            self.served.setdefault(self.turn, []).append(usage)
            return usage, number

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def wanted(request):
    """The kind of answer: what the user asked since the last finished answer."""
    messages = request.get("messages", [])
    start = 0
    for index, message in enumerate(messages):
        if message.get("role") == "assistant" and not message.get("tool_calls"):
            start = index + 1
    recent = messages[start:]
    asked = " ".join(text_of(message) for message in recent if message.get("role") == "user")
    if "FAIL" in asked:
        return "fail"
    if "TOOL" in asked and not any(message.get("role") == "tool" for message in recent):
        return "tool"
    return "text"


def text_of(message):
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if isinstance(part, dict))
