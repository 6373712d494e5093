"""Calls of the contracts by name, by the package's ABI: their bytes, and which must wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError

from contracts.artifacts import load
from contracts.fields import keccak256
from contracts.units import LawError

TIMELOCKED: Final = frozenset(
    {
        "add_signer",
        "set_threshold",
        "set_policy_hash",
        "set_guardian",
        "set_class",
        "add_market",
        "set_market_class",
        "set_rules",
        "begin_settlement",
        "set_cooldowns",
    }
)
"""What waits in public once a contract is launched; `set_guardian` to the owner itself does not."""
LAPSE_S: Final = 1_209_600
"""How long after its time an announced call may still be made: 14 days (authority.vy)."""


class CallError(LawError):
    """No contract of ours has this function, or these are not its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractMethod:
    """One function of one contract: its name and its inputs, as the ABI has them."""

    name: str
    inputs: tuple[Mapping[str, Any], ...]

    @property
    def types(self) -> tuple[str, ...]:
        """Give the types of the inputs."""
        return tuple(each["type"] for each in self.inputs)

    @property
    def selector(self) -> bytes:
        """Give the first four bytes of every call of it."""
        return keccak256(f"{self.name}({','.join(self.types)})".encode())[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCall:
    """One call of one contract of ours, by name; `contract` is the artifact's."""

    contract: str
    address: str
    function: str
    values: tuple[Any, ...] = ()

    @property
    def method(self) -> ContractMethod:
        """Give the function as the ABI has it."""
        return method(self.contract, self.function)

    @property
    def payload(self) -> bytes:
        """Give the whole calldata.

        Raises
        ------
        CallError
            These are not values of the function's types.
        """
        found = self.method
        try:
            return found.selector + bytes(encode(found.types, self.values))
        except (EncodingError, TypeError) as fault:
            raise CallError(f"{self.contract}.{self.function}: {fault}") from fault

    @property
    def operation(self) -> bytes:
        """Give what `schedule` announces: the hash of the whole calldata."""
        return keccak256(self.payload)

    def __str__(self) -> str:
        """Write the call as a person reads it."""
        return f"{self.contract}.{self.function}({', '.join(text(each) for each in self.values)})"


def method(contract: str, function: str) -> ContractMethod:
    """Find a function in a contract's ABI.

    Raises
    ------
    CallError
        It has none of that name.
    """
    for entry in load(contract).abi:
        if entry["type"] == "function" and entry["name"] == function:
            return ContractMethod(name=function, inputs=tuple(entry["inputs"]))
    raise CallError(f"{contract} has no function {function!r}")


def text(value: object) -> str:
    """Write one value as the Safe's interface takes it: no exponent, no capitals but EIP-55's."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)
