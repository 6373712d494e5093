"""The engine's words: each field in its place, and back again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import book_readings, book_words
from tests.contracts.margins import PROVEN
from tests.contracts.strategies import unsigned


def signed(bits):
    limit = 2 ** (bits - 1)
    return st.integers(-limit, limit - 1) | st.sampled_from([-limit, -1, 0, limit - 1])


ramps = st.builds(
    book_words.Ramp,
    from_ppm=unsigned(20),
    target_ppm=unsigned(20),
    begun_s=unsigned(40),
    ramp_s=unsigned(24),
    ai_epoch=unsigned(6),
)
positions = st.builds(
    book_words.Position,
    size=st.integers(1, 2**120 - 1),
    basis=signed(112),
    leverage_e2=unsigned(16),
    long=st.booleans(),
    managed=st.booleans(),
    collateral=unsigned(64),
    maintenance_ppm=unsigned(20),
    ceiling_ppm=unsigned(20),
    version=unsigned(32),
    stamp_ms=unsigned(44),
    cuts=unsigned(15),
    ramp=st.none() | ramps,
)
accounts = st.builds(
    book_words.AccountBook,
    nonce=unsigned(64),
    promised=unsigned(28),
    markets=st.lists(unsigned(16), max_size=10).map(tuple),
    balance=signed(200),
)
flows = st.builds(
    book_words.Flow,
    index=signed(112),
    rate=signed(72),
    at_s=unsigned(40),
    long_cuts=unsigned(15),
    short_cuts=unsigned(15),
    settled=st.booleans(),
)


@PROVEN
@given(positions)
def test_position__any__comes_back_from_its_words(position):
    words = book_words.encode_position(position)
    assert max(words) < 2**256
    assert book_words.decode_position(words) == position


@PROVEN
@given(unsigned(32))
def test_position__closed__keeps_its_version_and_nothing_else(version):
    words = book_words.encode_position(book_words.Position(version=version))
    assert words == (0, version << 104, 0)
    assert book_words.decode_position(words) == book_words.Position(version=version)


@PROVEN
@given(accounts)
def test_account__any__comes_back_from_its_word(account):
    word = book_words.encode_account(account)
    assert book_words.decode_account(word, account.balance) == account


@PROVEN
@given(flows)
def test_flow__any__comes_back_from_its_word(flow):
    assert book_words.decode_flow(book_words.encode_flow(flow)) == flow


@PROVEN
@given(st.integers(1, 2**256 - 1))
def test_rules__any_word__comes_back(word):
    assert book_words.encode_rules(book_words.decode_rules(word)) == word


@PROVEN
@given(unsigned(189))
def test_pace__any_word__comes_back(word):
    assert book_words.encode_pace(book_words.decode_pace(word)) == word


@PROVEN
@given(unsigned(71), unsigned(95), unsigned(95))
def test_mark__any_word__comes_back(word, price, average):
    assert book_readings.encode_mark(book_readings.decode_mark(price, average, word)) == word


@PROVEN
@given(unsigned(208).map(lambda word: word & ~(127 << 9)))
def test_margin__any_word__comes_back(word):
    assert book_readings.encode_margin(book_readings.decode_margin(word)) == word


@PROVEN
@given(unsigned(160), unsigned(16), st.sampled_from([1, 2]))
def test_position_id__any__splits_into_its_parts(account, market, mode):
    identity = book_words.position_id(account, market, mode)
    assert book_words.split_position_id(identity) == (account, market, mode)


def test_rules__never_set__are_none():
    assert book_words.decode_rules(0) is None


def test_settled__of_a_flow__is_the_highest_bit():
    assert book_words.encode_flow(book_words.Flow(settled=True)) == 1 << 255


def test_account_number__of_an_address__is_what_it_is():
    assert book_words.account_number("0x" + "00" * 18 + "0102") == 258


@pytest.mark.parametrize("basis", [2**111, -(2**111) - 1])
def test_basis__beyond_its_field__is_refused(basis):
    with pytest.raises(ValueError, match="does not fit"):
        book_words.encode_position(book_words.Position(size=1, basis=basis))
