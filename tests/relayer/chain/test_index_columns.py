"""Facts about packed rows and their columns: they behave as a dictionary, and hold the words."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.book_words import (
    CROSS,
    ISOLATED,
    AccountBook,
    Position,
    PositionId,
    Ramp,
    decode_position,
    encode_account,
    encode_position,
    position_id,
)
from contracts.units import PPM
from relayer.chain.index_columns import AccountColumns, PositionColumns
from relayer.chain.index_ledger import Ledger, Table
from relayer.chain.index_rows import BLOCK, Field, PackedRows

keys = st.one_of(st.integers(0, 40), st.integers(0, 2**184 - 1))
steps = st.lists(
    st.tuples(keys, st.none() | st.tuples(st.integers(0, 2**256 - 1), st.integers(-9, 9)))
)
positions = st.builds(
    Position,
    size=st.integers(1, 2**120 - 1),
    basis=st.integers(-(2**111), 2**111 - 1) | st.integers(-(2**66), 2**66) | st.integers(-9, 9),
    leverage_e2=st.integers(0, 2**16 - 1),
    long=st.booleans(),
    managed=st.booleans(),
    collateral=st.integers(0, 2**64 - 1),
    maintenance_ppm=st.integers(0, 2**20 - 1),
    ceiling_ppm=st.integers(0, 2**20 - 1),
    version=st.integers(0, 2**32 - 1),
    stamp_ms=st.integers(0, 2**44 - 1),
    cuts=st.integers(0, 2**15 - 1),
    ramp=st.none()
    | st.builds(
        Ramp,
        from_ppm=st.integers(0, 2**20 - 1),
        target_ppm=st.integers(0, 2**20 - 1),
        begun_s=st.integers(0, 2**40 - 1),
        ramp_s=st.integers(0, 2**24 - 1),
        ai_epoch=st.integers(0, 2**6 - 1),
    ),
)


@given(steps)
def test_packed_rows__any_steps__are_those_of_a_dictionary(
    done: list[tuple[int, tuple[int, int] | None]],
) -> None:
    packed, plain = PackedRows([Field(size=32), Field(size=2, signed=True)]), dict[int, object]()
    for key, row in done:
        if row is None:
            assert packed.pop(key, None) == plain.pop(key, None)
        else:
            packed[key] = plain[key] = row
        assert packed.get(key) == plain.get(key)
    assert packed == plain
    assert len(packed) == len(plain)
    assert set(packed) == set(plain)


def test_packed_rows__more_than_a_block__keep_their_places() -> None:
    packed = PackedRows([Field(size=4)])
    chance = random.Random(1)
    names = [chance.getrandbits(160) for _ in range(BLOCK + 1_000)]
    for number, key in enumerate(names):
        packed[key] = (number,)
    del packed[names[0]]
    packed[names[0]] = (7,)
    assert packed.place(names[0]) == 0
    assert packed.place(names[-1]) == BLOCK + 999
    assert packed[names[-1]] == (BLOCK + 999,)
    assert packed.key(BLOCK) == names[BLOCK]
    places = np.array([BLOCK + 5, 3], dtype=np.int32)
    assert packed.gather(places)[:, 3].tolist() == [BLOCK + 5, 3]
    assert sum(len(block) for _, block in packed.blocks()) == len(packed)


def test_packed_rows__a_number_past_its_field__is_refused() -> None:
    packed = PackedRows([Field(size=2)])
    with pytest.raises(OverflowError):
        packed[1] = (2**16,)
    with pytest.raises(KeyError):
        del packed[1]
    assert 1 not in packed


@given(st.lists(positions, min_size=1, max_size=8), st.sampled_from([ISOLATED, CROSS]))
def test_columns__any_positions__are_their_words(held: list[Position], mode: int) -> None:
    ledger = Ledger()
    for number, each in enumerate(held):
        name = position_id(number, 60_000 + number, mode)  # type: ignore[arg-type]
        ledger.put(Table.POSITION, name, encode_position(each))
    (_, rows), *_ = ledger.positions.blocks()
    found = PositionColumns(rows)
    words = [decode_position(encode_position(each)) for each in held]
    assert found.market.tolist() == [60_000 + number for number in range(len(held))]
    assert found.cross.tolist() == [mode == CROSS] * len(held)
    assert found.open.all()
    assert found.long.tolist() == [each.long for each in words]
    assert found.managed.tolist() == [each.managed for each in words]
    assert found.cuts.tolist() == [each.cuts for each in words]
    assert found.collateral_sum == sum(each.collateral for each in words)
    assert sum(found.sizes_by_side(found.open).values()) == sum(each.size for each in words)
    assert np.allclose(found.size, [float(each.size) for each in words], rtol=2.0**-51, atol=0)
    assert np.allclose(found.basis, [float(each.basis) for each in words], rtol=2.0**-51, atol=0)
    for least, most, each in zip(found.least, found.most, words, strict=True):
        ends = (each.ramp.from_ppm, each.ramp.target_ppm) if each.ramp and each.managed else ()
        assert least == max(each.maintenance_ppm, *ends, 0) / PPM
        assert most == (each.ceiling_ppm if each.managed else each.maintenance_ppm) / PPM


def test_columns__a_position_closed_and_one_taken_back__are_not_open() -> None:
    ledger = Ledger()
    ledger.put(Table.POSITION, PositionId(1), encode_position(Position(version=7)))
    ledger.put(Table.POSITION, PositionId(2), encode_position(Position(size=5)))  # type: ignore[arg-type]
    ledger.put(Table.POSITION, PositionId(2), None)
    (_, rows), *_ = ledger.positions.blocks()
    assert not PositionColumns(rows).open.any()


@given(st.lists(st.integers(-(2**100), 2**100), min_size=1, max_size=20))
def test_balances__any__are_added_up_by_sign(balances: list[int]) -> None:
    ledger = Ledger()
    for number, balance in enumerate(balances):
        markets = tuple(range(1, 1 + number % 3))
        word = encode_account(AccountBook(nonce=1, markets=markets))  # type: ignore[arg-type]
        ledger.put(Table.ACCOUNT, number, (word, balance))
    (_, rows), *_ = ledger.accounts.blocks()
    found = AccountColumns(rows)
    owed, owing = (sum(max(0, sign * each) for each in balances) for sign in (1, -1))
    assert found.balances() == (owed, owing)
    assert found.crossed.tolist() == [number % 3 > 0 for number in range(len(balances))]
