"""Contract views by signature: how each is asked and how its answer is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from contracts.fields import checksummed, keccak256
from relayer.chain import rpc
from relayer.chain.endpoints import Call, hexed
from relayer.errors import BadAnswer, Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One function of a contract, by its name and types."""

    selector: bytes
    arguments: tuple[str, ...]
    results: tuple[str, ...]

    def payload(self, *values: Any) -> bytes:  # noqa: ANN401 -- what the ABI types take
        """Encode a call's input."""
        return self.selector + encode(self.arguments, values)

    def call(self, contract: str, block: str | int, *values: Any) -> Call:  # noqa: ANN401
        """Build an `eth_call` pinned to a block."""
        request = {"to": contract, "data": hexed(self.payload(*values))}
        return "eth_call", (request, hexed(block) if isinstance(block, int) else block)

    def read(self, answer: object) -> Any:  # noqa: ANN401 -- as the ABI types say
        """Decode an answer: one value, or a tuple of several; addresses in EIP-55 case."""
        content = rpc.data(answer)
        if not content and self.results:
            raise Misconfigured("no contract of ours stands at that address on this chain")
        try:
            values = decode(self.results, content)
        except DecodingError as exc:
            raise BadAnswer(f"a view's answer cannot be decoded: {exc}") from exc
        plain = tuple(_plain(kind, value) for kind, value in zip(self.results, values, strict=True))
        return plain[0] if len(plain) == 1 else plain


def _plain(kind: str, value: Any) -> Any:  # noqa: ANN401 -- ABI values
    if kind == "address":
        return checksummed(value)
    if kind == "address[]":
        return tuple(checksummed(item) for item in value)
    return value


def view(signature: str, *results: str) -> View:
    """Read a signature such as `slots(uint256,uint256)` with the types it returns."""
    inner = signature[signature.index("(") + 1 : -1]
    return View(
        selector=keccak256(signature.encode())[:4],
        arguments=_outermost(inner),
        results=results,
    )


def _outermost(types: str) -> tuple[str, ...]:
    """Split a list of types at the commas that no bracket holds."""
    found, depth, first = [], 0, 0
    for index, character in enumerate(types):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            found.append(types[first:index])
            first = index + 1
    return (*found, types[first:]) if types else ()


OWNER = view("owner()", "address")
PENDING_OWNER = view("pending_owner()", "address")
GUARDIAN = view("guardian()", "address")
LAUNCHED = view("launched()", "bool")
TIMELOCK_S = view("timelock_s()", "uint256")
POLICY_HASH = view("policy_hash()", "bytes32")
CONFIG_DIGEST = view("config_digest()", "bytes32")
CONFIG_COUNT = view("config_count()", "uint256")
THRESHOLD = view("threshold()", "uint256")
SIGNERS = view("signers()", "address[]")
LATEST_ROUND = view("latest_round()", "uint64")
MARKET_COUNT = view("market_count()", "uint256")
SLOTS = view("slots(uint256,uint256)", "uint256[]")
RULES = view("rules(uint256)", "uint256")
BOUNDS = view("bounds(uint256)", "uint256")
GUARDS = view("guards(uint256,uint256)", "uint256[]")
CONTROLS = view("controls()", "uint256", "uint256[64]")
"""Views of both contracts, or of the one that has it; slots of the feed hold two markets."""
