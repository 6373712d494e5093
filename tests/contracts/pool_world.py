"""Vault and pool deployed between a test token and a stub of the engine, and what acts on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import eth_abi
import pytest
import rlp

from contracts.artifacts import EVM_VERSION, FOLDER, load
from contracts.fields import checksummed, keccak256
from contracts.pool import Exposure, PoolState, Tranche
from contracts.refusals import Refusal
from contracts.units import UsdcE6
from tests.contracts.chain import (
    Contract,
    Event,
    Evm,
    Receipt,
    RefusedError,
    RevertedError,
    _types,
    new_evm,
)
from tests.contracts.world import GUARDIAN, OWNER, STRANGER, TIMELOCK_S

DEPLOYER, TRADER, DEPOSITOR, INSURER, KEEPER, ATTACKER = (
    checksummed("0x" + keccak256(role.encode())[12:].hex())
    for role in ("deployer", "trader", "depositor", "insurer", "keeper", "attacker")
)
PARTIES = (TRADER, DEPOSITOR, INSURER, KEEPER, ATTACKER)
USDC = 10**6
MILLION = 10**6 * USDC
HOUR_S, DAY_S, WEEK_S = 3_600, 86_400, 604_800
TOKENS = Path(__file__).parent / "tokens"
NO_ONE = "0x" + "00" * 20
POOL, INSURANCE = Tranche.POOL, Tranche.INSURANCE


class Compiled(NamedTuple):
    """A contract of the tests."""

    abi: tuple[dict[str, Any], ...]
    bytecode: bytes


@cache
def compiled(name: str) -> Compiled:
    """Compile a contract of tests/contracts/tokens; needs the compiler of the dev extra."""
    compile_json = pytest.importorskip("vyper.cli.vyper_json").compile_json
    root = FOLDER.parent
    path = f"tests/contracts/tokens/{name}.vy"
    files = [root / path, TOKENS / "ledger.vy", FOLDER / "refusals.vy"]
    interfaces = sorted((FOLDER / "interfaces").glob("*.vyi"))
    document = {
        "language": "Vyper",
        "sources": {str(f.relative_to(root)): {"content": f.read_text()} for f in files},
        "interfaces": {str(f.relative_to(root)): {"content": f.read_text()} for f in interfaces},
        "settings": {
            "evmVersion": EVM_VERSION,
            "search_paths": ["."],
            "outputSelection": {path: ["abi", "evm.bytecode"]},
        },
    }
    output = compile_json(document)["contracts"][path][name]
    bytecode = bytes.fromhex(output["evm"]["bytecode"]["object"].removeprefix("0x"))
    return Compiled(tuple(output["abi"]), bytecode)


class TestContract(Contract):
    """A contract of the tests on the chain."""

    __test__ = False

    def __init__(self, evm: Evm, name: str, sender: str, arguments: Sequence[Any] = ()) -> None:
        self.evm = evm
        self.abi, bytecode = compiled(name)
        entry = next(entry for entry in self.abi if entry["type"] == "constructor")
        self._functions = {e["name"]: e for e in self.abi if e["type"] == "function"}
        self._events = {}
        self.told = set()
        encoded = eth_abi.encode(_types(entry["inputs"]), list(arguments))
        self.address = evm.deploy(sender, bytecode + encoded)


def predicted(nonce: int) -> str:
    """Give the address of the deployer's next contracts, before they exist."""
    word = keccak256(rlp.encode([bytes.fromhex(DEPLOYER[2:]), nonce]))
    return checksummed("0x" + word[12:].hex())


def _events_of(*names: str) -> dict[bytes, dict[str, Any]]:
    entries = [e for name in names for e in load(name).abi if e["type"] == "event"]
    return {
        keccak256(f"{e['name']}({','.join(_types(e['inputs']))})".encode()): dict(e)
        for e in entries
    }


class PoolWorld:
    """A token, a stub of the engine, the vault and the pool, wired by predicted addresses."""

    def __init__(self, token: str = "TestUSDC", evm: Evm | None = None) -> None:
        self.evm = evm or new_evm()
        engine, vault, pool = predicted(1), predicted(2), predicted(3)
        self.token = TestContract(self.evm, token, DEPLOYER)
        self.engine = TestContract(self.evm, "EngineStub", DEPLOYER, [vault, pool])
        self.vault = Contract(
            self.evm, "CollateralVault", DEPLOYER, [self.token.address, engine, pool]
        )
        parties = [self.token.address, engine, engine, vault, OWNER, GUARDIAN, TIMELOCK_S]
        self.pool = Contract(self.evm, "LiquidityPool", DEPLOYER, parties)
        assert (self.engine.address, self.vault.address, self.pool.address) == (engine, vault, pool)
        events = _events_of("CollateralVault", "LiquidityPool")
        for contract in (self.token, self.engine, self.vault, self.pool):
            contract._events = events
        for party in PARTIES:
            self.mint(party, 10**24)
            for spender in (vault, pool):
                self.token.send(party, "approve", spender, 2**256 - 1)

    def mint(self, party: str, amount: int) -> None:
        """Make tokens; a mint to vault or pool is a donation."""
        self.token.send(DEPLOYER, "mint", party, amount)

    def balance(self, party: str) -> int:
        """Read somebody's tokens."""
        found: int = self.token.read("balanceOf", party)
        return found

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.evm.set_time(self.evm.now_s + seconds)

    def state(self) -> PoolState:
        """Read what the mirror starts from."""
        assets, insurance, pending, shares, insurance_shares = self.pool.read("totals")
        return PoolState(
            assets=UsdcE6(assets),
            insurance=UsdcE6(insurance),
            pending=UsdcE6(pending),
            shares=shares,
            insurance_shares=insurance_shares,
        )

    def expose(self, exposure: Exposure, profit: int | None = None) -> None:
        """Set what positions are worth."""
        middle = (exposure.profit_high + exposure.profit_low) // 2 if profit is None else profit
        high, low = exposure.profit_high, exposure.profit_low
        values = (exposure.debts, high, low, exposure.reserve, middle)
        self.engine.send(KEEPER, "set_exposure", *values)

    def request(self, party: str, tranche: Tranche, amount: int) -> int:
        """Ask for shares; the request's id."""
        output = self.pool.send(party, "request_deposit", int(tranche), amount).output
        return int.from_bytes(output, "big")

    def request_redeem(self, party: str, tranche: Tranche, shares: int) -> int:
        """Ask for money; the request's id."""
        output = self.pool.send(party, "request_redeem", int(tranche), shares).output
        return int.from_bytes(output, "big")

    def execute(self, id_: int, kind: str = "deposit") -> int:
        """Execute a request as anybody may: shares made, or money paid."""
        output = self.pool.send(KEEPER, f"execute_{kind}", id_).output
        return int.from_bytes(output, "big")

    def deposit(self, party: str, tranche: Tranche, amount: int) -> int:
        """Enter and wait: the shares made."""
        id_ = self.request(party, tranche, amount)
        self.wait(self.pool.read("cooldown", int(tranche))[0])
        return self.execute(id_)

    def redeem(self, party: str, tranche: Tranche, shares: int) -> int:
        """Leave and wait: the money paid."""
        id_ = self.request_redeem(party, tranche, shares)
        self.wait(self.pool.read("cooldown", int(tranche))[1])
        return self.execute(id_, "redeem")

    def settle(self, to_pool: int, to_insurance: int = 0, shortfall: int = 0) -> Receipt:
        """Settle as the engine."""
        return self.engine.send(KEEPER, "settle", to_pool, to_insurance, shortfall)

    def held(self, party: str, tranche: Tranche) -> int:
        """Read somebody's shares."""
        view = "balanceOf" if tranche is POOL else "insurance_shares"
        found: int = self.pool.read(view, party)
        return found

    def everything(self) -> list[Any]:
        """Read all that a refused call must leave alone."""
        owner = [self.pool.read(view) for view in ("owner", "launched", "request_count")]
        cooldowns = [self.pool.read("cooldown", tranche) for tranche in (1, 2)]
        parties = (*PARTIES, STRANGER, self.vault.address, self.pool.address)
        money = [self.balance(party) for party in parties]
        shares = [self.held(party, tranche) for party in parties for tranche in Tranche]
        credited = self.vault.read("credited")
        waiting = [self.pool.read("request", id_) for id_ in range(1, owner[2] + 1)]
        return [owner, cooldowns, money, shares, credited, waiting, self.state()]

    def accounted(self) -> bool:
        """Tell whether vault and pool each hold at least what they say."""
        state = self.state()
        counted = state.assets + state.insurance + state.pending
        pool, vault = self.balance(self.pool.address), self.balance(self.vault.address)
        return pool >= counted and vault >= self.vault.read("credited")

    @contextmanager
    def refuses(self, refusal: Refusal) -> Iterator[None]:
        """Expect this refusal, and that nothing changed."""
        before = self.everything()
        with pytest.raises(RefusedError) as caught:
            yield
        assert caught.value.refusal is refusal
        assert self.everything() == before

    @contextmanager
    def fails(self) -> Iterator[None]:
        """Expect that the call reverts without a number, and that nothing changed."""
        before = self.everything()
        with pytest.raises(RevertedError):
            yield
        assert self.everything() == before


def events(receipt: Receipt, *names: str) -> list[Event]:
    """List a receipt's events of these names, in order."""
    return [event for event in receipt.events if event.name in names]
