"""JSON-RPC's hexadecimal: reading parameters strictly, writing chain values as a node does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eth_typing import Address

from relayer.local.errors import RpcError

INVALID_PARAMS: Final = -32602

Json = Any  # what json.loads gives and json.dumps takes


def as_number(value: Json) -> int:
    """Read a quantity."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        raise RpcError(INVALID_PARAMS, f"invalid argument: {value!r} is no quantity") from None


def as_bytes(value: Json) -> bytes:
    """Read data."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise RpcError(INVALID_PARAMS, f"invalid argument: {value!r} is no 0x data")
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise RpcError(INVALID_PARAMS, "invalid argument: odd or non-hexadecimal data") from None


def as_address(value: Json) -> Address:
    """Read an address, in any case."""
    address = as_bytes(value)
    if len(address) != 20:
        raise RpcError(INVALID_PARAMS, f"invalid argument: {value!r} is no address")
    return Address(address)


def hex_number(value: int) -> str:
    """Write a quantity."""
    return hex(value)


def hex_bytes(value: bytes) -> str:
    """Write data."""
    return "0x" + bytes(value).hex()


def rpc_fields(fields: Mapping[str, Any]) -> dict[str, Json]:
    """Write eth-tester's fields (snake case, ints, bytes) as JSON-RPC's (camel case, hex)."""
    return {_camel(name): _hex(value) for name, value in fields.items()}


def rpc_transaction(fields: Mapping[str, Any]) -> dict[str, Json]:
    """Write a transaction."""
    rest = {name: value for name, value in fields.items() if name not in {"data", "to"}}
    return {
        **rpc_fields(rest),
        "input": hex_bytes(fields["data"]),
        "to": hex_bytes(fields["to"]) if fields["to"] else None,
    }


def rpc_log(fields: Mapping[str, Any]) -> dict[str, Json]:
    """Write a log; no log is ever removed, as the chain has no reorganisations."""
    rest = {name: value for name, value in fields.items() if name != "type"}
    return {**rpc_fields(rest), "removed": False}


def rpc_receipt(fields: Mapping[str, Any]) -> dict[str, Json]:
    """Write a receipt."""
    rest = {
        name: value for name, value in fields.items() if name not in {"logs", "state_root", "to"}
    }
    return {
        **rpc_fields(rest),
        "to": hex_bytes(fields["to"]) if fields["to"] else None,
        "logs": [rpc_log(log) for log in fields["logs"]],
        "logsBloom": "0x" + "00" * 256,
    }


def _camel(name: str) -> str:
    """Turn block_hash into blockHash."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _hex(value: object) -> Json:
    """Write one value by its type."""
    if isinstance(value, int):
        return hex_number(value)
    if isinstance(value, bytes):
        return hex_bytes(value)
    if isinstance(value, Mapping):
        return rpc_fields(value)
    if isinstance(value, list | tuple):
        return [_hex(each) for each in value]
    return value
