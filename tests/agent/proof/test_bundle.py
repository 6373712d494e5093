"""Evidence of an observation: what is written reads back as what was seen, byte for byte."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from agent.errors import EvidenceError
from agent.proof.bundle import decode_observation, encode_observation
from agent.proof.chunks import Chunks
from agent.snapshot import MarketHistory, snapshot_of
from contracts.units import MarketId, UnixMs
from relayer.evidence import canonical_json
from relayer.market.book_measures import BookMeasures
from relayer.market.books import Slippage
from tests.agent.builders import HOUR_MS, NOW_MS, candles, history, observation


def test_bundle__decoded__encodes_to_the_same_bytes() -> None:
    first = encode_observation(observation())
    again = encode_observation(decode_observation(first.fields, lambda h: bytes(first.chunks[h])))
    assert canonical_json(again.fields) == canonical_json(first.fields)
    assert again.chunks.keys() == first.chunks.keys()


def test_bundle__what_a_book_said_and_a_jump_that_waits__read_back() -> None:
    book = BookMeasures(
        venue="a",
        observed_at_ms=NOW_MS,
        slippage=(Slippage(value=10_000, buy_ppm=12, sell_ppm=None),),
        imbalance_ppm=-40_000,
        half_life_ms=2_500,
        shocks=3,
    )
    told = dataclasses.replace(history(0), book=book)
    seen = observation(histories=(told, history(1)), unconfirmed=(MarketId(1),))
    encoded = encode_observation(seen)
    read = decode_observation(encoded.fields, lambda h: bytes(encoded.chunks[h]))
    assert [each.book for each in read.histories] == [book, None]
    assert read.unconfirmed == (1,)


def test_bundle__decoded__gives_the_same_snapshot() -> None:
    seen = observation()
    encoded = encode_observation(seen)
    read = snapshot_of(decode_observation(encoded.fields, lambda h: bytes(encoded.chunks[h])))
    direct = snapshot_of(seen)
    assert [m.mark for m in read.markets] == [m.mark for m in direct.markets]
    for a, b in zip(read.markets, direct.markets, strict=True):
        for name in ("open_ms", "open", "high", "low", "close", "volume"):
            assert np.array_equal(
                getattr(a.history.minutes, name), getattr(b.history.minutes, name)
            )


def test_bundle__chunks__are_named_by_their_hash() -> None:
    chunks = encode_observation(observation()).chunks
    assert all(hashlib.sha256(content).digest() == name for name, content in chunks.items())


def test_bundle__an_hour_later__adds_one_chunk_of_minutes_a_market() -> None:
    """Closed history is stored once: only what has closed since is new."""
    first = observation()
    later_ms = UnixMs(first.as_of_ms + HOUR_MS)
    early = encode_observation(first).chunks
    late = encode_observation(dataclasses.replace(first, as_of_ms=later_ms)).chunks
    assert len(late.keys() - early.keys()) == 2


def test_bundle__series_with_gaps__reads_back() -> None:
    minutes = candles(60_000, 500)
    kept = np.flatnonzero(np.arange(500) % 97 > 60)
    gaps = dataclasses.replace(
        minutes,
        **{
            n: getattr(minutes, n)[kept]
            for n in ("open_ms", "open", "high", "low", "close", "volume")
        },
    )
    seen = observation(histories=(dataclasses.replace(history(), minutes=gaps),))
    encoded = encode_observation(seen)
    read = decode_observation(encoded.fields, lambda h: bytes(encoded.chunks[h]))
    assert np.array_equal(read.histories[0].minutes.open_ms, gaps.open_ms)


@pytest.mark.parametrize("field", ["chain", "market/1", "quotes", "as_of_ms"])
def test_bundle__field_absent__is_an_evidence_error(field: str) -> None:
    encoded = encode_observation(observation())
    fields = {name: value for name, value in encoded.fields.items() if name != field}
    with pytest.raises(EvidenceError):
        decode_observation(fields, lambda h: bytes(encoded.chunks[h]))


def test_encode__bars_seen_before__gives_the_bytes_of_a_first_look() -> None:
    known, seen = Chunks(), observation()
    encode_observation(seen, known)
    later = dataclasses.replace(seen, as_of_ms=UnixMs(seen.as_of_ms + HOUR_MS))
    moved = dataclasses.replace(
        later, histories=tuple(without_first_bars(each, 7) for each in later.histories)
    )
    for each in (seen, later, moved):
        again, first = encode_observation(each, known), encode_observation(each)
        assert again.fields == first.fields
        assert {k: bytes(v) for k, v in again.chunks.items()} == {
            k: bytes(v) for k, v in first.chunks.items()
        }


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_encode__one_old_bar_is_another_now__its_chunk_gets_another_name(column: str) -> None:
    known, seen = Chunks(), observation()
    encode_observation(seen, known)
    history = seen.histories[0]
    values = getattr(history.minutes, column).copy()
    values[3] = np.nextafter(values[3], values[3] + (-1.0 if column == "low" else 1.0))
    altered = dataclasses.replace(
        history, minutes=dataclasses.replace(history.minutes, **{column: values})
    )
    other = dataclasses.replace(seen, histories=(altered, *seen.histories[1:]))
    again = encode_observation(other, known)
    assert again.fields == encode_observation(other).fields
    assert again.fields != encode_observation(seen).fields


def without_first_bars(history: MarketHistory, count: int) -> MarketHistory:
    minutes = history.minutes
    later = minutes.between(int(minutes.open_ms[count]), int(minutes.open_ms[-1]) + minutes.bar_ms)
    return dataclasses.replace(history, minutes=later)
