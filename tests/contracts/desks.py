"""The order desk with the real oracle behind it and a double of the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest

from contracts.messages import (
    Adjustment,
    MarginMode,
    Message,
    PositionTerms,
    Side,
)
from contracts.refusals import Refusal
from tests.contracts.chain import Contract, Event, Evm, Receipt, RefusedError
from tests.contracts.doubles import compiled, double
from tests.contracts.world import (
    EVIDENCE_HASH,
    FIELDS,
    MODEL_HASH,
    OWNER,
    STRANGER,
    OracleWorld,
    Signer,
)

TRADER = Signer("trader").address
KEEPER = Signer("keeper").address
FEE_E6 = 250_000
RULES_WORD = FEE_E6 << 200 | 1
E18 = 10**18
ANY_PRICE = 2**256 - 1
WINDOW_S = 17


def message_tuple(message: Message) -> tuple[Any, ...]:
    """Give a message as the ABI takes it."""
    values = [getattr(message, item.name) for item in fields(message)]
    return tuple(int(value) if isinstance(value, int) else value for value in values)


def words(signatures: Sequence[bytes]) -> list[bytes]:
    """Give signatures as pairs (r, vs)."""
    return [half for signature in signatures for half in (signature[:32], signature[32:])]


def request_of(receipt: Receipt) -> tuple[Any, ...]:
    """Rebuild a request from its event alone, as an executor does."""
    (event,) = (item for item in receipt.events if item.name == "Requested")
    request: tuple[Any, ...] = event.fields["request"]
    return request


class DeskWorld:
    """RiskOracle and OrderDesk; the engine writes down what it is asked."""

    def __init__(self, evm: Evm | None = None, threshold: int = 2) -> None:
        self.oracle = OracleWorld(evm=evm, threshold=threshold)
        self.evm = self.oracle.evm
        self.oracle.update(FIELDS, FIELDS._replace(market=1))
        self.engine = double(self.evm, "DeskEngine", OWNER)
        self.engine.send(OWNER, "set_rules", 0, RULES_WORD)
        addresses = [self.engine.address, self.oracle.address]
        self.desk = Contract(self.evm, "OrderDesk", OWNER, addresses)
        self.desk.learn(compiled("DeskEngine").abi)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.oracle.wait(seconds)

    def terms(self, **changes: Any) -> PositionTerms:
        """Make terms of now."""
        plain = {
            "observed_at_ms": self.oracle.now_ms,
            "valid_until_ms": self.oracle.now_ms + 60_000,
            "account": TRADER,
            "market": 0,
            "side": Side.LONG,
            "margin_mode": MarginMode.ISOLATED,
            "adjustment": Adjustment.MANAGED,
            "max_notional_e6": 10**12,
            "max_leverage_e2": 1_000,
            "maintenance_ppm": 50_000,
            "maintenance_ceiling_ppm": 80_000,
            "risk_score_ppm": 250_000,
            "nonce": 7,
            "model_hash": MODEL_HASH,
            "evidence_hash": EVIDENCE_HASH,
        }
        return PositionTerms(**{**plain, **changes})

    def open(
        self,
        terms: PositionTerms | None = None,
        sender: str = TRADER,
        signed: Sequence[bytes] | None = None,
        **asked: int,
    ) -> Receipt:
        """Request to open."""
        terms = terms or self.terms()
        signed = self.oracle.signatures(terms) if signed is None else signed
        plain = {"size": E18, "margin": 10**9, "leverage_e2": 500, "acceptable_price": ANY_PRICE}
        values = {**plain, **asked}.values()
        return self.desk.send(sender, "request_open", message_tuple(terms), words(signed), *values)

    def close(
        self, market: int = 0, mode: int = 1, size: int = E18, acceptable_price: int = 0
    ) -> Receipt:
        """Request to close."""
        return self.desk.send(TRADER, "request_close", market, mode, size, acceptable_price)

    def change(self, terms: PositionTerms, leverage_e2: int = 500, sender: str = TRADER) -> Receipt:
        """Change terms."""
        signed = words(self.oracle.signatures(terms))
        return self.desk.send(sender, "change_terms", message_tuple(terms), signed, leverage_e2)

    def execute(self, request: tuple[Any, ...], sender: str = KEEPER) -> Receipt:
        """Execute a request."""
        return self.desk.send(sender, "execute", request)

    def cancel(self, request: tuple[Any, ...], sender: str = STRANGER) -> Receipt:
        """Cancel a request."""
        return self.desk.send(sender, "cancel", request)

    def give_position(
        self, size: int = 5 * E18, long: bool = True, market: int = 0, mode: int = 1
    ) -> None:
        """Have the engine say that the trader holds a position, at a price of 100."""
        identity = int(TRADER, 16) << 24 | market << 8 | mode
        word = size | long << 248
        self.engine.send(OWNER, "set_position", identity, word, 100 * E18)

    def pending(self, event: Event) -> bool:
        """Tell whether the request of an event waits."""
        return bool(self.desk.read("pending", event.fields["id"]))

    @contextmanager
    def refuses(self, refusal: Refusal) -> Iterator[None]:
        """Expect this refusal."""
        with pytest.raises(RefusedError) as caught:
            yield
        assert caught.value.refusal is refusal
