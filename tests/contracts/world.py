"""Both contracts deployed with their roles, and what posts to them and reads them in the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import coincurve
import eth_abi
import pytest

from contracts import halts, price_feed, risk_oracle
from contracts.envelope import Configuration
from contracts.fields import checksummed, keccak256, pack_words
from contracts.messages import Domain, Message, Posted, PriceRound, RiskUpdate, calldata, digest
from contracts.packing import (
    UNTOUCHED,
    PriceHalf,
    PriceWord,
    RiskFields,
    join_price_word,
    join_risk_word,
    pack_amount,
)
from contracts.price_feed import ClassRules, FeedState
from contracts.refusals import Refusal, unpack_skip
from contracts.risk_bounds import ClassBounds, decode_bounds, encode_bounds
from contracts.risk_oracle import OracleState
from contracts.units import LeverageE2, Ppm, UnixMs, WholeUsdc
from tests.contracts.chain import Contract, Evm, PyEvm, Receipt, RefusedError, new_evm

OWNER, GUARDIAN, RELAYER, STRANGER = (
    checksummed("0x" + keccak256(role.encode())[12:].hex())
    for role in ("owner", "guardian", "relayer", "stranger")
)
TIMELOCK_S = 86_400
POLICY_HASH = keccak256(b"policy")
MODEL_HASH = keccak256(b"model")
EVIDENCE_HASH = keccak256(b"evidence")

CLASS = 1
RULES = ClassRules(
    rate_ppm_per_s=2_000,
    window_ms=120_000,
    max_age_ms=30_000,
    max_confidence_ppm=Ppm(2_000),
    new_risk_age_ms=45_000,
)
BOUNDS = ClassBounds(
    min_cap_e2=LeverageE2(100),
    max_cap_e2=LeverageE2(5_000),
    floor_maintenance_ppm=Ppm(20_000),
    max_open_interest_cap_usdc=WholeUsdc(1 << 30),
    min_size_scale_usdc=WholeUsdc(1_024),
    max_spread_ppm=Ppm(5_000),
    notice_s=3_600,
    profit_share_ppm=Ppm(500_000),
    min_step_spread_ppm=Ppm(40),
    max_validity_s=7_200,
    tighten_ppm=Ppm(300_000),
    loosen_ppm=Ppm(100_000),
    min_step_cap_e2=LeverageE2(10),
    min_step_amount_usdc=WholeUsdc(1_000),
    loosen_delay_s=900,
    daily_drift_ppm=Ppm(500_000),
)


class Signer:
    """One registered signer's key."""

    def __init__(self, name: str) -> None:
        self._key = coincurve.PrivateKey(keccak256(name.encode()))
        public = self._key.public_key.format(compressed=False)[1:]
        self.address = checksummed("0x" + keccak256(public)[12:].hex())

    def sign(self, message_hash: bytes) -> bytes:
        """Sign in the form of EIP-2098."""
        signed = bytearray(self._key.sign_recoverable(message_hash, hasher=None))
        signed[32] |= signed[64] << 7
        return bytes(signed[:64])


def signers(count: int = 4) -> tuple[Signer, ...]:
    """Give signers in the order that signatures stand in."""
    found = [Signer(f"signer {index}") for index in range(count)]
    return tuple(sorted(found, key=lambda signer: signer.address.lower()))


SIGNERS = signers()
OUTSIDER = Signer("not registered")


class World:
    """One contract with its roles, on a chain whose time the test sets."""

    name: str

    def __init__(self, evm: Evm | None = None, threshold: int = 2) -> None:
        self.evm = evm or new_evm()
        self.signers = signers(max(len(SIGNERS), threshold))
        self.threshold = threshold
        addresses = [signer.address for signer in self.signers]
        arguments = [OWNER, GUARDIAN, TIMELOCK_S, addresses, threshold, POLICY_HASH]
        self.contract = Contract(self.evm, self.name, OWNER, arguments)
        self.address = self.contract.address

    @property
    def now_s(self) -> int:
        """The time of the next block."""
        return self.evm.now_s

    @property
    def now_ms(self) -> int:
        """The time of the next block."""
        return self.evm.now_s * 1_000

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.evm.set_time(self.evm.now_s + seconds)

    def send(self, sender: str, function: str, *arguments: Any) -> Receipt:
        """Send a transaction."""
        return self.contract.send(sender, function, *arguments)

    def read(self, function: str, *arguments: Any) -> Any:
        """Call a view."""
        return self.contract.read(function, *arguments)

    def schedule(self, function: str, *arguments: Any) -> None:
        """Announce a timelocked call as the owner."""
        self.send(OWNER, "schedule", self.operation(function, *arguments))

    def operation(self, function: str, *arguments: Any) -> bytes:
        """Name a timelocked call as `schedule` does."""
        return keccak256(self.contract.calldata(function, *arguments))

    def domain(self) -> Domain:
        """Give what messages are signed under now."""
        return Domain(
            chain_id=self.evm.chain_id,
            contract=self.address,
            config_digest=self.read("config_digest"),
        )

    def signatures(
        self, message: Message, by: Sequence[Signer] | None = None, domain: Domain | None = None
    ) -> list[bytes]:
        """Sign a message by the first k signers, or by others."""
        message_hash = digest(message, domain or self.domain())
        chosen = self.signers[: self.threshold] if by is None else by
        return [signer.sign(message_hash) for signer in chosen]

    def post(self, message: Posted, signatures: Sequence[bytes] | None = None) -> Receipt:
        """Post a message as anybody may."""
        signed = self.signatures(message) if signatures is None else signatures
        return self.contract.send_raw(RELAYER, calldata(message, signed))

    def configuration(self) -> Configuration:
        """Read the configuration."""
        return Configuration(
            config_digest=self.read("config_digest"),
            config_count=self.read("config_count"),
            threshold=self.read("threshold"),
            signers=tuple(checksummed(address) for address in self.read("signers")),
        )

    def next_round(self) -> int:
        """Give the next round's number."""
        return self.read("latest_round") + 1

    def _storage(self) -> list[Any]:
        count = min(self.read("market_count"), 256)
        return [self.read("slots", 0, count)]

    def storage(self) -> list[Any]:
        """Read everything that a refused call must leave alone."""
        views = ("owner", "pending_owner", "guardian", "launched", "latest_round", "market_count")
        hashes = ("bounds_hash", "policy_hash")
        plain = [self.read(view) for view in (*views, *hashes)]
        return [self.configuration(), *plain, *self._storage()]

    @contextmanager
    def refuses(self, refusal: Refusal) -> Iterator[None]:
        """Expect this refusal, and that nothing changed."""
        before = self.storage()
        with pytest.raises(RefusedError) as caught:
            yield
        assert caught.value.refusal is refusal
        assert self.storage() == before


def with_market_count(kind: type[World], count: int) -> World:
    """Give a world whose contract believes that it has so many markets."""
    evm = PyEvm()
    world = kind(evm=evm)
    markets = world.read("market_count")
    slots = [slot for slot in range(300) if evm.storage(world.address, slot) == markets]
    for slot in slots:
        evm.write_storage(world.address, slot, count)
        if world.read("market_count") == count:
            return world
        evm.write_storage(world.address, slot, markets)
    raise AssertionError("market_count has moved in storage")


def skips(receipt: Receipt) -> list[tuple[int, Refusal]]:
    """List the items that a batch left aside."""
    (event,) = receipt.events
    found = [unpack_skip(packed) for packed in event.fields["skipped"]]
    return [(skip.market, skip.refusal) for skip in found]


PRICE = PriceHalf(mantissa=3_000_000_000, exponent=30, confidence=6, age_ms=0)


def moved(half: PriceHalf, ppm: int) -> PriceHalf:
    """Move a price by a share of it, in its own exponent."""
    return half._replace(mantissa=half.mantissa * (1_000_000 + ppm) // 1_000_000)


class FeedWorld(World):
    """PriceFeed with some markets of one class."""

    name = "PriceFeed"

    def __init__(self, markets: int = 3, evm: Evm | None = None, threshold: int = 2) -> None:
        super().__init__(evm, threshold)
        self.send(OWNER, "set_class", CLASS, price_feed.encode_rules(RULES))
        for market in range(markets):
            self.send(OWNER, "add_market", market, CLASS)

    def message(self, *words: int, **changes: Any) -> PriceRound:
        """Make a round of now."""
        fields: dict[str, Any] = {
            "round": self.next_round(),
            "observed_at_ms": UnixMs(self.now_ms),
            "valid_until_ms": UnixMs(self.now_ms + 30_000),
            "evidence_hash": EVIDENCE_HASH,
            "words": words or (price_word(PRICE),),
        }
        return PriceRound(**{**fields, **changes})

    def offer(self, half: PriceHalf, **changes: Any) -> Receipt:
        """Post a price of market 0."""
        return self.post(self.message(price_word(half), **changes))

    def state(self) -> FeedState:
        """Read what the mirror starts from."""
        count = self.read("market_count")
        slots = self.read("slots", 0, (count + 1) // 2)
        return FeedState(
            config=self.configuration(),
            latest_round=self.read("latest_round"),
            rules={CLASS: price_feed.decode_rules(self.read("rules", CLASS))},
            markets=price_feed.decode_markets(slots, count),
        )


def price_word(low: PriceHalf, high: PriceHalf = UNTOUCHED, slot: int = 0) -> int:
    """Put a word of a round together."""
    return join_price_word(PriceWord(slot, low, high))


FIELDS = RiskFields(
    market=0,
    cap_e2=1_000,
    maintenance_ppm=50_000,
    open_interest_cap=pack_amount(WholeUsdc(5_000_000)),
    size_scale=pack_amount(WholeUsdc(1_000_000)),
    spread=50,
    reduce_only=0,
    ramp_s=0,
)


def capped(cap_e2: int, fields: RiskFields = FIELDS, **changes: int) -> RiskFields:
    """Change a cap and its maintenance together, and other fields."""
    tuple_of = {"cap_e2": cap_e2, "maintenance_ppm": 50_000_000 // cap_e2}
    return fields._replace(**{**tuple_of, **changes})


class OracleWorld(World):
    """RiskOracle with some markets of one class, updated once."""

    name = "RiskOracle"

    def __init__(self, markets: int = 2, evm: Evm | None = None, threshold: int = 2) -> None:
        super().__init__(evm, threshold)
        self.send(OWNER, "set_class", CLASS, encode_bounds(BOUNDS))
        for market in range(markets):
            word = join_risk_word(FIELDS._replace(market=market))
            self.send(OWNER, "add_market", market, CLASS, word)
        self.wait(BOUNDS.loosen_delay_s)

    def message(self, *fields: RiskFields | int, **changes: Any) -> RiskUpdate:
        """Make an update of now."""
        words = tuple(
            join_risk_word(item) if isinstance(item, RiskFields) else item
            for item in fields or (FIELDS,)
        )
        plain: dict[str, Any] = {
            "round": self.next_round(),
            "observed_at_ms": UnixMs(self.now_ms),
            "valid_until_ms": UnixMs(self.now_ms + 3_600_000),
            "model_hash": MODEL_HASH,
            "evidence_hash": EVIDENCE_HASH,
            "words": words,
        }
        return RiskUpdate(**{**plain, **changes})

    def update(self, *fields: RiskFields | int, **changes: Any) -> Receipt:
        """Post an update of now."""
        return self.post(self.message(*fields, **changes))

    def rebound(self, **changes: Any) -> None:
        """Change the class's bounds as the owner, before launch."""
        self.send(OWNER, "set_class", CLASS, encode_bounds(replace(BOUNDS, **changes)))

    def _storage(self) -> list[Any]:
        count = min(self.read("market_count"), 256)
        return [*super()._storage(), self.read("guards", 0, count), self.read("controls")]

    def parameters(self, market: int = 0) -> dict[str, Any]:
        """Read the decoded view of a market."""
        output = next(e for e in self.contract.abi if e.get("name") == "parameters")["outputs"][0]
        names = [item["name"] for item in output["components"]]
        return dict(zip(names, self.read("parameters", market), strict=True))

    def state(self) -> OracleState:
        """Read what the mirror starts from."""
        count = self.read("market_count")
        markets = [risk_oracle.decode_slot(word) for word in self.read("slots", 0, count)]
        return OracleState(
            config=self.configuration(),
            latest_round=self.read("latest_round"),
            bounds={CLASS: decode_bounds(self.read("bounds", CLASS))},
            markets=tuple(market for market in markets if market is not None),
            guards=tuple(halts.decode_guard(word) for word in self.read("guards", 0, count)),
            controls=halts.decode_controls(*self.read("controls")),
        )


def encode_call(signature: str, types: Sequence[str], values: Sequence[Any]) -> bytes:
    """Encode a call by hand, for calls that our own encoder will not make."""
    return keccak256(signature.encode())[:4] + eth_abi.encode(list(types), list(values))


def raw_words(words: Sequence[int]) -> bytes:
    """Give words as a batch's bytes."""
    return pack_words(words)


Worlds = Callable[[], World]
BOTH: tuple[Worlds, ...] = (FeedWorld, OracleWorld)
