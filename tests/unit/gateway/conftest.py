"""A real HTTP server on loopback that speaks OpenAI's API, and misbehaves as it is told."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


class Server:
    """Each request takes the next word of ``script``; at its end, "ok" for ever.

    Words: "ok", "slow" (until ``wake``), "429", "429-date", "500", "400", "401", "cut" (a stream or body that ends in
    the middle), "cut-first" (before the first chunk), "malformed", "close" (no answer at all), "tools".
    """

    def __init__(self, name: str) -> None:
        self.name, self.script, self.requests = name, list[str](), list[dict]()
        self.wake, self.choose = threading.Event(), None
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server.lock:
                    server.requests.append(body)
                    word = server.choose() if server.choose else server.script.pop(0) if server.script else "ok"
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    server.answer(self, word, body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    choose: Callable[[], str] | None

    def close(self):
        self.wake.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler, word, body):
        if word == "slow":
            self.wake.wait(20)
        if word in ("429", "429-date", "500", "400", "401", "503"):
            headers = {}
            if word.startswith("429"):
                soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time()))
                headers["Retry-After"] = soon if word == "429-date" else "0.02"
            return self.send(handler, int(word[:3]), json.dumps({"error": {"message": word}}).encode(), headers)
        if word == "close":
            handler.close_connection = True
            return handler.connection.close()
        if word == "malformed":
            return self.send(handler, 200, b'{"choices": [{"mess')
        if body.get("stream"):
            return self.stream(handler, word)
        if word == "cut":
            handler.send_response(200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", "5000")
            handler.end_headers()
            handler.wfile.write(b'{"choices": [')
            handler.close_connection = True
            return None
        message = {"role": "assistant", "content": f"from {self.name}"}
        if word == "tools":
            call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"word": "x"}'}}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": USAGE,
        }
        return self.send(handler, 200, json.dumps(reply).encode())

    def send(self, handler, status, body, headers=None):
        handler.send_response(status)
        for key, value in {"content-type": "application/json", **(headers or {})}.items():
            handler.send_header(key, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def stream(self, handler, word):
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for i, piece in enumerate(["from ", self.name, "!"]):
            if word == "cut-first" or (word == "cut" and i == 2):
                handler.close_connection = True
                handler.wfile.flush()
                return handler.connection.shutdown(2)
            delta = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}
            data = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
            line = f"data: {json.dumps(data)}\n\n".encode()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            handler.wfile.flush()
        end = b"data: [DONE]\n\n"
        handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))
        return None


@pytest.fixture
def serve():
    made = []

    def make(name="a", *script):
        made.append(Server(name))
        made[-1].script = list(script)
        return made[-1]

    yield make
    for server in made:
        server.close()
