"""An EVM in process for the tests of the contracts: pyrevm, or py-evm where pyrevm has no wheel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import eth_abi
from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.vm.forks.prague import PragueVM
from eth.vm.spoof import SpoofTransaction

from contracts import artifacts
from contracts.fields import checksummed, keccak256
from contracts.refusals import Refusal, decode_refusal

try:
    import pyrevm
except ImportError:  # Python 3.13: no wheel
    pyrevm = None

FAST = pyrevm is not None
START_S = 1_700_000_000  # 2023-11-14, the first block's time
GAS_LIMIT = 60_000_000
WEALTH = 10**24
REVM_CHAIN = 6343


class RefusedError(Exception):
    """A call that the contract refused, by its number."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.name)
        self.refusal = refusal


class RevertedError(Exception):
    """A call that failed without a numbered refusal."""


class Event(NamedTuple):
    """One decoded log."""

    name: str
    fields: Mapping[str, Any]


class Receipt(NamedTuple):
    """What a transaction returned, logged and used."""

    output: bytes
    events: tuple[Event, ...]
    gas_used: int


class RawReceipt(NamedTuple):
    """A transaction as an EVM reports it: logs are topics and data."""

    output: bytes
    logs: list[tuple[list[bytes], bytes]]
    gas_used: int


class Evm(Protocol):
    """What the tests need of an EVM."""

    chain_id: int
    now_s: int

    def set_time(self, now_s: int) -> None: ...
    def deploy(self, sender: str, code: bytes) -> str: ...
    def send(self, sender: str, to: str, data: bytes) -> RawReceipt: ...
    def read(self, to: str, data: bytes) -> bytes: ...


def _failure(revert_data: bytes, reason: object) -> Exception:
    refusal = decode_refusal(revert_data)
    return RevertedError(str(reason)) if refusal is None else RefusedError(refusal)


class RevmEvm:
    """pyrevm: fast; one long journal, so its gas is that of warm slots."""

    def __init__(self, chain_id: int = REVM_CHAIN, now_s: int = START_S) -> None:
        self.chain_id = chain_id
        config = pyrevm.CfgEnv(chain_id=chain_id)
        env = pyrevm.Env(cfg=config)
        self._evm = pyrevm.EVM(env=env, spec_id="PRAGUE", gas_limit=GAS_LIMIT)
        self._funded: set[str] = set()
        self.set_time(now_s)

    def set_time(self, now_s: int) -> None:
        self.now_s = now_s
        self._evm.set_block_env(pyrevm.BlockEnv(timestamp=now_s, gas_limit=GAS_LIMIT))

    def _fund(self, address: str) -> None:
        if address not in self._funded:
            self._funded.add(address)
            self._evm.set_balance(address, WEALTH)

    def deploy(self, sender: str, code: bytes) -> str:
        self._fund(sender)
        address: str = self._guard(lambda: self._evm.deploy(sender, code))
        return checksummed(address)

    def send(self, sender: str, to: str, data: bytes) -> RawReceipt:
        self._fund(sender)
        output = self._guard(lambda: self._evm.message_call(sender, to, calldata=data))
        result = self._evm.result
        logs = [([_bytes(t) for t in log.topics], _bytes(log.data[1])) for log in result.logs]
        return RawReceipt(bytes(output), logs, result.gas_used)

    def read(self, to: str, data: bytes) -> bytes:
        reader = "0x" + "99" * 20
        return bytes(self._guard(lambda: self._evm.message_call(reader, to, calldata=data)))

    def _guard(self, action: Any) -> Any:
        checkpoint = self._evm.snapshot()
        try:
            result = action()
        except RuntimeError as error:
            self._evm.revert(checkpoint)
            found = re.search(r"output: 0x([0-9a-f]*)", str(error))
            raise _failure(bytes.fromhex(found[1]) if found else b"", error) from None
        self._evm.commit()
        return result


def _bytes(value: Any) -> bytes:
    return bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else bytes(value)


class PyEvm:
    """py-evm's state alone: slow, and its gas is exact, each transaction beginning cold."""

    def __init__(self, chain_id: int = REVM_CHAIN, now_s: int = START_S) -> None:
        kind = MiningChain.configure(
            __name__="TestChain", vm_configuration=((0, PragueVM),), chain_id=chain_id
        )
        genesis = {
            "difficulty": 0,
            "gas_limit": GAS_LIMIT,
            "timestamp": now_s,
            "coinbase": bytes(20),
            "extra_data": b"",
            "mix_hash": bytes(32),
            "nonce": bytes(8),
        }
        self.chain_id = chain_id
        self._spoof = SpoofTransaction
        self._vm = kind.from_genesis(AtomicDB(), genesis, {}).get_vm()
        self.set_time(now_s)

    def set_time(self, now_s: int) -> None:
        self.now_s = now_s
        self._vm.state.execution_context._timestamp = now_s

    def deploy(self, sender: str, code: bytes) -> str:
        return checksummed("0x" + self._run(sender, b"", code).msg.storage_address.hex())

    def send(self, sender: str, to: str, data: bytes) -> RawReceipt:
        done = self._run(sender, _bytes(to), data)
        logs = [
            ([t.to_bytes(32, "big") for t in topics], body)
            for _, topics, body in done.get_log_entries()
        ]
        zeros = data.count(0)
        tokens = zeros + 4 * (len(data) - zeros)
        used = 21_000 + 4 * tokens + done.get_gas_used()
        used -= min(done.get_gas_refund(), used // 5)
        return RawReceipt(done.output, logs, max(used, 21_000 + 10 * tokens))

    def read(self, to: str, data: bytes) -> bytes:
        return self._run("0x" + "99" * 20, _bytes(to), data).output

    def storage(self, address: str, slot: int) -> int:
        """Read a storage slot that no view gives."""
        value: int = self._vm.state.get_storage(_bytes(address), slot)
        return value

    def write_storage(self, address: str, slot: int, value: int) -> None:
        """Make a state that would take too long to reach."""
        self._vm.state.set_storage(_bytes(address), slot, value)
        self._vm.state.lock_changes()

    def _run(self, sender: str, to: bytes, data: bytes) -> Any:
        state, account = self._vm.state, _bytes(sender)
        state.set_balance(account, WEALTH)
        transaction = self._vm.create_unsigned_transaction(
            nonce=state.get_nonce(account),
            gas_price=10**10,
            gas=GAS_LIMIT // 2,
            to=to,
            value=0,
            data=data,
        )
        done = state.apply_transaction(self._spoof(transaction, from_=account))
        state.lock_changes()
        if done.is_error:
            raise _failure(done.output, done.error) from None
        return done


def new_evm() -> Evm:
    """Give the fastest EVM that this interpreter has."""
    return RevmEvm() if FAST else PyEvm()


def _type_of(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_type_of(part) for part in item["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


def _types(items: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_type_of(item) for item in items]


def _signature(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(_types(entry['inputs']))})"


class Contract:
    """One deployed contract: calls by name, results and events decoded."""

    def __init__(
        self, evm: Evm, name: str | artifacts.Artifact, sender: str, arguments: Sequence[Any]
    ) -> None:
        artifact = artifacts.load(name) if isinstance(name, str) else name
        self.evm = evm
        self.abi = artifact.abi
        constructor = next(entry for entry in self.abi if entry["type"] == "constructor")
        encoded = eth_abi.encode(_types(constructor["inputs"]), list(arguments))
        self._functions = {e["name"]: e for e in self.abi if e["type"] == "function"}
        self._events: dict[bytes, Mapping[str, Any]] = {}
        self.learn(self.abi)
        self.told: set[str] = set()  # the names of all events of its calls
        self.address = evm.deploy(sender, artifact.bytecode + encoded)

    def learn(self, abi: Sequence[Mapping[str, Any]]) -> None:
        """Decode the events of a contract that this one calls as well."""
        events = [entry for entry in abi if entry["type"] == "event"]
        self._events |= {keccak256(_signature(entry).encode()): entry for entry in events}

    def selector(self, function: str) -> bytes:
        """Give the four bytes that name a function, for arguments packed by hand."""
        return keccak256(_signature(self._functions[function]).encode())[:4]

    def calldata(self, function: str, *arguments: Any) -> bytes:
        entry = self._functions[function]
        encoded = eth_abi.encode(_types(entry["inputs"]), list(arguments))
        return self.selector(function) + encoded

    def send(self, sender: str, function: str, *arguments: Any) -> Receipt:
        return self.send_raw(sender, self.calldata(function, *arguments))

    def send_raw(self, sender: str, data: bytes) -> Receipt:
        raw = self.evm.send(sender, self.address, data)
        events = tuple(self._decode(topics, body) for topics, body in raw.logs)
        self.told |= {event.name for event in events}
        return Receipt(raw.output, events, raw.gas_used)

    def read(self, function: str, *arguments: Any) -> Any:
        output = self.evm.read(self.address, self.calldata(function, *arguments))
        values = eth_abi.decode(_types(self._functions[function]["outputs"]), output)
        return values[0] if len(values) == 1 else values

    def _decode(self, topics: list[bytes], data: bytes) -> Event:
        entry = self._events[topics[0]]
        indexed = [item for item in entry["inputs"] if item["indexed"]]
        plain = [item for item in entry["inputs"] if not item["indexed"]]
        values = dict(
            zip([i["name"] for i in plain], eth_abi.decode(_types(plain), data), strict=True)
        )
        for item, topic in zip(indexed, topics[1:], strict=True):
            (values[item["name"]],) = eth_abi.decode([item["type"]], topic)
        return Event(entry["name"], values)
