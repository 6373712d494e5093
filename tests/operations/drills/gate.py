"""An endpoint in front of a node, which can be made to misbehave as endpoints do."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Call = dict[str, Any]
Fault = Callable[["Gate", Call], Call | None]
"""What is answered to a call; None: what the node says."""


class Door(ThreadingHTTPServer):
    """Who asked may be killed before the answer; that is no fault of the door's."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@dataclass
class Gate:
    """One endpoint; `fault` is what it does to each call, None: nothing."""

    node: str
    fault: Fault | None = None
    down: bool = False
    slow_s: float = 0.0  # before each answer
    pinned: dict[str, Any] = field(default_factory=dict)
    server: ThreadingHTTPServer | None = None
    _local: threading.local = field(default_factory=threading.local)

    def start(self) -> Gate:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(gate.slow_s)
                if gate.down:
                    return self._say(503, b"<html>out of service</html>")
                return self._say(200, json.dumps(gate.answer(body)).encode())

            def _say(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked may be gone
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = Door(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def mend(self) -> None:
        """Behave again."""
        self.fault, self.down, self.slow_s, self.pinned = None, False, 0.0, {}

    def answer(self, body: Any) -> Any:
        """Answer one body, of one call or several."""
        calls = body if isinstance(body, list) else [body]
        fault = self.fault
        bent = {c["id"]: fault(self, c) for c in calls} if fault else {}
        rest = [c for c in calls if bent.get(c["id"]) is None]
        told = {each["id"]: each for each in (self.forward(rest) if rest else [])}
        answers = [bent.get(c["id"]) or told[c["id"]] for c in calls]
        return answers if isinstance(body, list) else answers[0]

    def forward(self, calls: list[Call]) -> list[Call]:
        """Ask the node."""
        parts = urlsplit(self.node)
        for attempt in (1, 2):
            try:
                if not hasattr(self._local, "wire"):
                    self._local.wire = http.client.HTTPConnection(str(parts.netloc), timeout=30)
                headers = {"Content-Type": "application/json"}
                self._local.wire.request("POST", "/", json.dumps(calls), headers)
                answered = self._local.wire.getresponse().read()
            except (OSError, http.client.HTTPException):
                del self._local.wire
                if attempt == 2:
                    raise
            else:
                break
        found: list[Call] = json.loads(answered)
        return found

    def result(self, call: Call, result: Any) -> Call:
        return {"jsonrpc": "2.0", "id": call["id"], "result": result}


def refuses_logs(gate: Gate, call: Call) -> Call | None:
    """Says that every range of logs is too large."""
    if call["method"] != "eth_getLogs":
        return None
    error = {"code": -32005, "message": "query returned more than 10000 results"}
    return {"jsonrpc": "2.0", "id": call["id"], "error": error}


def leaves_out_logs(gate: Gate, call: Call) -> Call | None:
    """Answers that nothing happened."""
    return gate.result(call, []) if call["method"] == "eth_getLogs" else None


def stands_still(gate: Gate, call: Call) -> Call | None:
    """Answers about the newest block as it was when the fault began."""
    if "latest" not in str(call.get("params")) and call["method"] != "eth_blockNumber":
        return None
    key = call["method"] + json.dumps(call["params"])
    if key not in gate.pinned:
        gate.pinned[key] = gate.forward([call])[0]["result"]
    return gate.result(call, gate.pinned[key])


def lies_about_state(gate: Gate, call: Call) -> Call | None:
    """Changes one bit of what contracts say."""
    if call["method"] != "eth_call":
        return None
    told = gate.forward([call])[0]
    if len(told.get("result", "0x")) > 2:
        last = int(told["result"][-1], 16) ^ 1
        told["result"] = told["result"][:-1] + f"{last:x}"
    return told


def estimates_too_little(gate: Gate, call: Call) -> Call | None:
    """Says that calls need a fraction of the gas that they need."""
    if call["method"] != "eth_estimateGas":
        return None
    told = gate.forward([call])[0]
    if "result" in told:
        told["result"] = hex(max(22_000, int(told["result"], 16) // 3))
    return told
