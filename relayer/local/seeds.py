"""Seeded noise without state: the same key gives the same number in any process."""

from __future__ import annotations

import hashlib


def unit(*key: object) -> float:
    """Give a number in [0, 1) that depends on the key alone."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def signed(*key: object) -> float:
    """Give a number in [-1, 1) that depends on the key alone."""
    return 2.0 * unit(*key) - 1.0


def smooth(at_ms: int, period_ms: int, *key: object) -> float:
    """Give a number in [-1, 1) that wanders: new every period, straight in between."""
    step, into = divmod(at_ms, period_ms)
    share = into / period_ms
    return signed(step, *key) * (1 - share) + signed(step + 1, *key) * share
