"""Guarded items and marks to the messages that signers are asked for; nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from agent.judge import Judgement
from agent.rounds import RoundNumbers
from agent.snapshot import Feed, Snapshot
from contracts.messages import MAX_PRICE_WORDS, MAX_RISK_WORDS, PriceRound, RiskUpdate
from contracts.packing import PriceQuote, pack_price_words
from contracts.units import MS_PER_S, UnixMs
from relayer.market.aggregate import Mark

Word = TypeVar("Word")


def risk_updates(
    judgement: Judgement, rounds: RoundNumbers, snapshot: Snapshot, hashes: tuple[bytes, bytes]
) -> tuple[RiskUpdate, ...]:
    """Write the items as updates of at most as many words as the contract takes.

    `hashes` are those of the model and of the evidence.
    """
    model_hash, evidence_hash = hashes
    as_of_ms, limits = snapshot.as_of_ms, snapshot.limits
    batches = in_batches(judgement.words, MAX_RISK_WORDS)
    first = rounds.take(limits.domain.contract, limits.round, len(batches))
    return tuple(
        RiskUpdate(
            round=first + index,
            observed_at_ms=as_of_ms,
            valid_until_ms=UnixMs(as_of_ms + judgement.validity_s * MS_PER_S),
            model_hash=model_hash,
            evidence_hash=evidence_hash,
            words=tuple(words),
        )
        for index, words in enumerate(batches)
    )


def price_rounds(
    marks: Sequence[Mark], rounds: RoundNumbers, feed: Feed, valid_for_s: int, evidence_hash: bytes
) -> tuple[PriceRound, ...]:
    """Write marks as rounds; the newest observation is the round's, the others' ages are kept."""
    observed_at_ms = UnixMs(max(mark.observed_at_ms for mark in marks))
    quotes = [
        PriceQuote(
            market=mark.market,
            price_e18=mark.price_e18,
            confidence_ppm=mark.confidence_ppm,
            observed_at_ms=mark.observed_at_ms,
        )
        for mark in marks
    ]
    batches = in_batches(pack_price_words(quotes, observed_at_ms), MAX_PRICE_WORDS)
    first = rounds.take(feed.domain.contract, feed.round, len(batches))
    return tuple(
        PriceRound(
            round=first + index,
            observed_at_ms=observed_at_ms,
            valid_until_ms=UnixMs(observed_at_ms + valid_for_s * MS_PER_S),
            evidence_hash=evidence_hash,
            words=tuple(words),
        )
        for index, words in enumerate(batches)
    )


def in_batches(words: Sequence[Word], size: int) -> list[Sequence[Word]]:
    """Cut words into batches that one call takes."""
    return [words[first : first + size] for first in range(0, len(words), size)]
