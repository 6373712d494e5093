"""What both contracts ask of every batch before its items; the bits and times that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.messages import Posted
from contracts.refusals import Refusal
from contracts.units import UnixMs, UnixS

EPOCH_MS: Final = UnixMs(1_262_304_000_000)
"""2010-01-01T00:00:00Z: storage counts from here, so that old recorded data fits."""
EPOCH_S: Final = UnixS(1_262_304_000)
MAX_ROUND_JUMP: Final = 2**32
"""A signed typing error burns at most so many of the 2**64 numbers.

Fewer would lock signers out, who never sign two messages for one round, once so many rounds failed
to land: these are 136 years at one a second.
"""
FUTURE_TOLERANCE_MS: Final = 2_000
LARGEST_AGE_MS: Final = 65_536
RANGE_MS: Final = (2**30 - 2**22) * 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a contract's messages are signed under, as its views give it."""

    config_digest: bytes
    config_count: int
    threshold: int
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How old a kind of message may be, and how long it may be relied on, both in ms.

    What storage keeps of a validity is rounded down to `validity_unit_ms`.
    """

    max_age_ms: int
    max_validity_ms: int
    validity_unit_ms: int = 1


def judge_batch(
    message: Posted, latest_round: int, now_s: UnixS, limits: Freshness
) -> Refusal | None:
    """Say why a contract would refuse a whole batch, its signatures apart, in the contract's order.

    `now_s` is the time of the block that it lands in.
    """
    if message.round <= latest_round:
        return Refusal.STALE_ROUND
    if message.round - latest_round > MAX_ROUND_JUMP:
        return Refusal.ROUND_JUMP
    if not message.words:
        return Refusal.NO_WHOLE_WORDS
    return judge_times(message.observed_at_ms, message.valid_until_ms, now_s, limits)


def judge_times(
    observed_at_ms: int, valid_until_ms: int, now_s: UnixS, limits: Freshness
) -> Refusal | None:
    """Say why a contract would refuse a message as not of this moment."""
    now_ms = now_s * 1_000
    if observed_at_ms > now_ms + FUTURE_TOLERANCE_MS:
        return Refusal.FROM_THE_FUTURE
    if observed_at_ms + limits.max_age_ms < now_ms:
        return Refusal.OBSERVATION_TOO_OLD
    if valid_until_ms < max(now_ms, observed_at_ms):
        return Refusal.EXPIRED
    if valid_until_ms > observed_at_ms + limits.max_validity_ms:
        return Refusal.VALIDITY_TOO_LONG
    if not LARGEST_AGE_MS <= observed_at_ms - EPOCH_MS < RANGE_MS + LARGEST_AGE_MS:
        return Refusal.OBSERVATION_OUT_OF_RANGE
    validity_ms = valid_until_ms - observed_at_ms
    if valid_until_ms - validity_ms % limits.validity_unit_ms < now_ms:
        return Refusal.EXPIRED
    return None


def split_bits(word: int, widths: Sequence[int]) -> list[int]:
    """Cut a word into fields from its lowest bit upward."""
    values = []
    for bits in widths:
        values.append(word & ((1 << bits) - 1))
        word >>= bits
    return values


def join_bits(values: Sequence[int], widths: Sequence[int]) -> int:
    """Put fields side by side from the lowest bit upward; ValueError for one that does not fit."""
    word = at = 0
    for value, bits in zip(values, widths, strict=True):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} does not fit in {bits} bits")
        word |= value << at
        at += bits
    return word
