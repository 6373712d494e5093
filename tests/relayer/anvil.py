"""A real node for tests: anvil from node_modules, AML_ANVIL or PATH, on a free loopback port."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coincurve
import pytest

from relayer.signing.keys import Key

ROOT = Path(__file__).parents[2]
# The first account of the mnemonic that every anvil has: rich there, and nowhere else.
RICH = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


def binary() -> str:
    """Find anvil; without it skip, or fail where everything is required."""
    candidates = [os.environ.get("AML_ANVIL"), str(ROOT / "node_modules" / ".bin" / "anvil")]
    found = next((path for path in candidates if path and Path(path).exists()), None)
    found = found or shutil.which("anvil")
    if found:
        return found
    reason = "anvil is not installed: npm ci in the repository's root, or set AML_ANVIL"
    if os.environ.get("AML_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def rich_key() -> Key:
    return Key(coincurve.PrivateKey(bytes.fromhex(RICH)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Anvil:
    """A running node."""

    url: str
    process: subprocess.Popen[bytes]

    def call(self, method: str, *params: Any) -> Any:
        """Ask the node directly, past everything that is tested."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        request = urllib.request.Request(
            self.url, body.encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            parsed = json.load(answer)
        assert "error" not in parsed, parsed
        return parsed["result"]


@contextmanager
def running(*options: str, chain_id: int, timestamp_s: int) -> Iterator[Anvil]:
    """Run a node with MegaETH's fee and limits as far as anvil has them."""
    command: Sequence[str] = [
        *(binary(), "--port", str(_free_port()), "--chain-id", str(chain_id)),
        *("--base-fee", "1000000", "--gas-limit", "1000000000", "--hardfork", "prague"),
        *("--timestamp", str(timestamp_s), "--silent", *options),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        node = Anvil(url=f"http://127.0.0.1:{command[2]}", process=process)
        _wait_ready(node)
        yield node
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # what npm installs is a wrapper around the node
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_ready(node: Anvil) -> None:
    for _ in range(200):
        try:
            node.call("eth_chainId")
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("anvil did not answer within 10 s")
