"""Calls with arguments from the edges of their types, from anybody, to every function there is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.fields import checksummed
from tests.contracts.chain import Contract, RefusedError, RevertedError

EDGES = (0, 1, 2, 3, 255, 2**16 - 1, 2**24, 2**40, 2**63, 2**64 - 1, 2**64, 2**96, 2**120)
FAR = (2**128 - 1, 2**160 - 1, 2**184, 2**192, 2**255 - 1, 2**255, 2**256 - 1)
NOBODY = "0x" + "00" * 20


class Garbage:
    """Draws arguments; `live` are numbers that mean something where it is used."""

    def __init__(self, seed: int, addresses: Sequence[str], live: Sequence[int]) -> None:
        self.random = random.Random(seed)
        self.addresses = (*addresses, NOBODY, checksummed("0x" + "ff" * 20))
        self.numbers = (*EDGES, *FAR, *live)
        self.done: Counter[str] = Counter()
        self.reverted: list[str] = []

    def value(self, item: Mapping[str, Any]) -> Any:
        """Draw a value of an ABI type."""
        kind: str = item["type"]
        if kind.endswith("[]"):
            inner = {**item, "type": kind.removesuffix("[]")}
            return [self.value(inner) for _ in range(self.random.choice((0, 1, 2, 4, 6)))]
        if kind == "tuple":
            return tuple(self.value(part) for part in item["components"])
        if kind == "address":
            return self.random.choice(self.addresses)
        if kind == "bool":
            return self.random.random() < 0.5
        if kind.startswith("bytes"):
            size = int(kind.removeprefix("bytes") or self.random.choice((0, 32, 64, 2_048)))
            return self.random.randbytes(size)
        if kind.startswith("int"):
            top = 2 ** (int(kind.removeprefix("int")) - 1)
            return self.random.choice((0, 1, -1, top - 1, -top, 10**6 % top))
        bits = int(kind.removeprefix("uint"))
        return self.random.choice(self.numbers) % 2**bits

    def call(self, contract: Contract, name: str, sender: str, entry: Mapping[str, Any]) -> str:
        """Call a function; give `ok`, or its refusal's name. A revert without a number is kept."""
        arguments = [self.value(item) for item in entry["inputs"]]
        data = contract.calldata(entry["name"], *arguments)
        try:
            contract.evm.send(sender, contract.address, data)
        except RefusedError as refused:
            outcome = refused.refusal.name
        except RevertedError as error:
            outcome = "reverted"
            self.reverted.append(f"{name}.{entry['name']}{arguments}: {str(error)[:80]}")
        else:
            outcome = "ok"
        self.done[outcome] += 1
        return outcome


def functions(contract: Contract) -> list[Mapping[str, Any]]:
    """List a contract's functions."""
    return [entry for entry in contract.abi if entry["type"] == "function"]
