"""Files for the Safe interface's transaction builder: written from calls, read back, check-summed.

The form is the interface's own (version 1.0). `data` stays null, as in its own exports: then it
shows the function and its values to whoever signs, and encodes them by the same ABI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.errors import AgentError
from contracts.calls import CallError, NamedCall, text
from contracts.fields import checksummed, keccak256

VERSION: Final = "1.0"
BUILDER: Final = "1.18.2"  # whose form this is; the interface reads files of any 1.x


class BatchError(AgentError):
    """A file is no batch, was changed after it was written, or calls what is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Calls that one Safe makes in one transaction, in this order."""

    name: str
    description: str
    chain_id: int
    safe: str
    made_at_ms: int
    calls: tuple[NamedCall, ...]


def encode(batch: Batch) -> str:
    """Write a batch as the file that the interface takes."""
    body: dict[str, Any] = {
        "version": VERSION,
        "chainId": str(batch.chain_id),
        "createdAt": batch.made_at_ms,
        "meta": {
            "name": batch.name,
            "description": batch.description,
            "txBuilderVersion": BUILDER,
            "createdFromSafeAddress": checksummed(batch.safe),
            "createdFromOwnerAddress": "",
        },
        "transactions": [_transaction(call) for call in batch.calls],
    }
    body["meta"]["checksum"] = checksum(body)
    return json.dumps(body, indent=2) + "\n"


def _transaction(call: NamedCall) -> dict[str, Any]:
    inputs = [
        {"internalType": each["type"], "name": each["name"], "type": each["type"]}
        for each in call.method.inputs
    ]
    named = zip(inputs, call.values, strict=True)
    return {
        "to": call.address,
        "value": "0",
        "data": None,
        "contractMethod": {"inputs": inputs, "name": call.function, "payable": False},
        "contractInputsValues": {field["name"]: text(value) for field, value in named},
    }


def checksum(body: Mapping[str, Any]) -> str:
    """Give the interface's check sum of a file; its name and the sum itself do not count."""
    meta = {key: value for key, value in body["meta"].items() if key != "checksum"}
    counted = {**body, "meta": {**meta, "name": None}}
    return "0x" + keccak256(_canonical(counted).encode()).hex()


def _canonical(value: object) -> str:
    """Write a value as the interface hashes it: keys first, in order, then what they hold."""
    if isinstance(value, Mapping):
        keys = sorted(value)
        return "{" + _plain(keys) + "".join(f"{_canonical(value[key])}," for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_canonical(each) for each in value) + "]"
    return _plain(value)


def _plain(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def read(file: Path) -> str:
    """Read a file that should be a batch, and whole.

    Raises
    ------
    BatchError
        It is not there, cannot be read, is none of the Safe interface's, or was changed.
    """
    try:
        content = file.read_text(encoding="utf-8")
        body = json.loads(content)
        if body["meta"]["checksum"] != checksum(body):
            raise BatchError(
                f"{file}: was changed after it was written: its check sum differs; ask for it again"
            )
    except OSError as fault:
        raise BatchError(f"{file}: {(fault.strerror or str(fault)).lower()}") from fault
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise BatchError(
            f"{file}: is not a batch of the Safe interface; `aml owner` and `aml market` write them"
        ) from fault
    return content


def decode(content: str, contracts: Mapping[str, str], chain_id: int) -> Batch:
    """Read a file back; `contracts` are our contracts' names by address on that chain.

    Raises
    ------
    BatchError
        It is not a batch, not what it was when it was written, or calls what is not ours.
    """
    try:
        body = json.loads(content)
        claimed = body["meta"]["checksum"]
        if claimed != checksum(body):
            raise BatchError("the file was changed after it was written: its check sum differs")
        if int(body["chainId"]) != chain_id:
            raise BatchError(f"the batch is for chain {body['chainId']}, this is chain {chain_id}")
        return Batch(
            name=body["meta"]["name"],
            description=body["meta"]["description"],
            chain_id=chain_id,
            safe=body["meta"]["createdFromSafeAddress"],
            made_at_ms=body["createdAt"],
            calls=tuple(_call(each, contracts) for each in body["transactions"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise BatchError(f"not a batch of the Safe interface: {fault!r}") from fault


def _call(entry: Mapping[str, Any], contracts: Mapping[str, str]) -> NamedCall:
    to, wanted = checksummed(entry["to"]), entry["contractMethod"]
    contract = contracts.get(to)
    if contract is None:
        raise BatchError(f"{to} is none of this deployment's contracts")
    if entry["value"] != "0" or entry["data"] is not None:
        raise BatchError(f"{to}: sends value or bytes of its own; our batches name what they call")
    kinds = [each["type"] for each in wanted["inputs"]]
    texts = [entry["contractInputsValues"][each["name"]] for each in wanted["inputs"]]
    call = NamedCall(
        contract=contract,
        address=to,
        function=wanted["name"],
        values=tuple(_value(kind, said) for kind, said in zip(kinds, texts, strict=True)),
    )
    try:
        if list(call.method.types) != kinds:
            raise BatchError(f"{contract}.{call.function}: its inputs are {call.method.types}")
        call.payload  # noqa: B018 - every value must fit its type
    except CallError as fault:
        raise BatchError(str(fault)) from fault
    return call


def _value(kind: str, said: str) -> object:
    """Read one value as the interface does."""
    if kind == "bool":
        return {"true": True, "false": False}[said]
    if kind == "address":
        return checksummed(said)
    return bytes.fromhex(said.removeprefix("0x")) if kind.startswith("bytes") else int(said)


def tables(calls: Sequence[NamedCall]) -> list[dict[str, str]]:
    """Give calls with their calldata, for scripts."""
    return [
        {"to": call.address, "call": str(call), "data": "0x" + call.payload.hex()} for call in calls
    ]
