"""The read-back: a delivery counts when the contract itself says so, item by item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from contracts import price_feed, risk_oracle
from contracts.messages import PriceRound, parse_calldata
from contracts.packing import split_risk_word, unpack_price_words
from contracts.risk_bounds import values_of
from contracts.units import MarketId
from relayer.chain import rpc, views
from relayer.chain.endpoints import Call, ChainEndpoint, block_call, hexed
from relayer.chain.events import event_of
from relayer.chain.reads import PAGE
from relayer.chain.rpc import Receipt
from relayer.delivery.calls import confirm_call
from relayer.delivery.outbox import Delivery
from relayer.delivery.states import (
    Effective,
    Failed,
    FailureReason,
    Outcome,
    Superseded,
    outcome_of_refusal,
)
from relayer.errors import ChainRefused, Reverted

_SHOWN: Final = 5  # differences that a reason names; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """What a market's slot must say after a batch, field by field."""

    market: MarketId
    fields: Mapping[str, Any]


class ContractReadBack:
    """Asks the contract at the receipt's block, in one round trip."""

    def __init__(self, endpoint: ChainEndpoint) -> None:
        self._endpoint = endpoint

    async def latest_round(self, contract: str) -> int:
        """Return the last round that a contract accepted."""
        method, params = views.LATEST_ROUND.call(contract, "latest")
        latest: int = views.LATEST_ROUND.read(await self._endpoint.call(method, *params))
        return latest

    async def confirm(self, delivery: Delivery, receipt: Receipt) -> Outcome | None:
        """Compare the contract with the message; None when the receipt's block is gone."""
        if not receipt.succeeded:
            return await self._why_reverted(delivery, receipt)
        if delivery.is_call:
            return await self._confirm_call(delivery, receipt)
        # A mini-block has no hash yet and no number to ask for: only the newest state has it.
        sealed = receipt.block_hash is not None
        tag = receipt.block_number if sealed else "latest"
        expected = _expected(delivery)
        try:
            calls = _calls(delivery, expected, tag)
            header, latest, *pages, after = await self._endpoint.batch(calls)
        except ChainRefused:
            if await self._is_gone(receipt):
                return None
            raise
        # Before and after: a node answers a batch call by call, and its head may move in between.
        if sealed and not all(_is_block_of(receipt, each) for each in (header, after)):
            return None
        latest_round = views.LATEST_ROUND.read(latest)
        if latest_round > delivery.round:
            return Superseded(latest_round=latest_round, tx_hash=receipt.tx_hash)
        slots = _slots(delivery, expected, pages)
        return _judge(delivery, receipt, expected, slots)

    async def _confirm_call(self, delivery: Delivery, receipt: Receipt) -> Outcome | None:
        payload, contract = delivery.payload, delivery.contract
        try:
            return await confirm_call(self._endpoint, payload, contract, receipt)
        except ChainRefused:
            if await self._is_gone(receipt):
                return None
            raise

    async def _is_gone(self, receipt: Receipt) -> bool:
        method, params = block_call(receipt.block_number)
        return await self._endpoint.call(method, *params) is None

    async def _why_reverted(self, delivery: Delivery, receipt: Receipt) -> Outcome:
        """Ask again at that block: what reverted left no trace, so the same guard is met."""
        attempt = next(a for a in delivery.attempts if a.tx_hash == receipt.tx_hash)
        request = {
            "from": delivery.sender,
            "to": delivery.contract,
            "data": hexed(delivery.payload),
            "gas": hexed(attempt.gas_limit),
        }
        code, detail = None, f"reverted in block {receipt.block_number}, for no reason that shows"
        try:
            await self._endpoint.call("eth_call", request, hexed(receipt.block_number))
        except Reverted as refused:
            code, detail = refused.code, str(refused)
        latest = 0 if delivery.is_call else await self.latest_round(delivery.contract)
        return outcome_of_refusal(code, detail, latest, receipt.tx_hash)


def _judge(
    delivery: Delivery,
    receipt: Receipt,
    expected: tuple[_Expected, ...],
    slots: Mapping[int, int],
) -> Outcome:
    event = event_of(receipt, delivery.contract)
    if event is None or event.message_hash != delivery.message_hash:
        missing = "the contract's event is missing or has another message hash"
        return _failed(FailureReason.NOT_IN_CONTRACT, missing, receipt)
    skipped = {item.market for item in event.skipped}
    landed = tuple(item for item in expected if item.market not in skipped)
    differing = tuple(_differences(delivery, landed, slots))
    if differing:
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        named = "; ".join(differing[:_SHOWN]) + more
        return _failed(FailureReason.NOT_IN_CONTRACT, named, receipt)
    if not landed:
        # The round landed and nothing took effect: whoever counted that would count a lie.
        named = "; ".join(f"market {item.market} {item.reason}" for item in event.skipped[:_SHOWN])
        return _failed(FailureReason.ALL_SKIPPED, named, receipt)
    return Effective(
        tx_hash=receipt.tx_hash,
        block_number=receipt.block_number,
        gas_used=receipt.gas_used,
        skipped=event.skipped,
    )


def _failed(reason: FailureReason, detail: str, receipt: Receipt) -> Failed:
    return Failed(reason=reason, detail=detail, tx_hash=receipt.tx_hash)


def _expected(delivery: Delivery) -> tuple[_Expected, ...]:
    message, _ = parse_calldata(delivery.payload)
    if isinstance(message, PriceRound):
        quotes = unpack_price_words(message.words, message.observed_at_ms)
        return tuple(
            _Expected(
                market=quote.market,
                fields={
                    "price_e18": quote.price_e18,
                    "confidence_ppm": quote.confidence_ppm,
                    "observed_at_ms": quote.observed_at_ms,
                    "unconfirmed": False,
                },
            )
            for quote in quotes
        )
    words = ((split_risk_word(word), word) for word in message.words)
    return tuple(
        _Expected(
            market=MarketId(fields.market),
            fields={"values": values_of(fields), "observed_at_ms": message.observed_at_ms},
        )
        for fields, _ in words
    )


def _pages(delivery: Delivery, expected: tuple[_Expected, ...]) -> list[range]:
    """Cover the markets of a batch with as few pages of slots as their spread needs."""
    slots = sorted({_slot(delivery, item.market) for item in expected})
    pages: list[range] = []
    for slot in slots:
        if pages and slot < pages[-1].start + PAGE:
            pages[-1] = range(pages[-1].start, slot + 1)
        else:
            pages.append(range(slot, slot + 1))
    return pages


def _slot(delivery: Delivery, market: int) -> int:
    return market // 2 if delivery.kind == "price" else market


def _calls(delivery: Delivery, expected: tuple[_Expected, ...], tag: str | int) -> list[Call]:
    contract = delivery.contract
    return [
        block_call(tag),
        views.LATEST_ROUND.call(contract, tag),
        *(
            views.SLOTS.call(contract, tag, page.start, len(page))
            for page in _pages(delivery, expected)
        ),
        block_call(tag),
    ]


def _is_block_of(receipt: Receipt, header: object) -> bool:
    return header is not None and rpc.block_stamp(header).block_hash == receipt.block_hash


def _slots(
    delivery: Delivery, expected: tuple[_Expected, ...], answers: list[Any]
) -> dict[int, int]:
    found: dict[int, int] = {}
    for page, answer in zip(_pages(delivery, expected), answers, strict=True):
        found.update(zip(page, views.SLOTS.read(answer), strict=True))
    return found


def _differences(
    delivery: Delivery, landed: tuple[_Expected, ...], slots: Mapping[int, int]
) -> Iterator[str]:
    """Name each field that is not as the message says."""
    for item in landed:
        state = _state(delivery, item.market, slots)
        for name, value in item.fields.items():
            found = getattr(state, name, None)
            if found != value:
                yield f"market {item.market} {name}: posted {value}, found {found}"


def _state(
    delivery: Delivery, market: int, slots: Mapping[int, int]
) -> price_feed.MarketPrice | risk_oracle.MarketState | None:
    word = slots[_slot(delivery, market)]
    if delivery.kind == "price":
        return price_feed.decode_slot(word)[market % 2]
    return risk_oracle.decode_slot(word)
