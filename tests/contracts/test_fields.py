"""Field types: which values they hold, against published vectors where there are any."""

from __future__ import annotations

import eth_utils
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import fields

PROVEN = settings(derandomize=True, deadline=None, max_examples=200)

# The examples of EIP-55, "Test Cases".
CHECKSUMMED = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]
EMPTY_HASH = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_keccak256__nothing__is_ethereum_s_and_not_sha3():
    assert fields.keccak256(b"").hex() == EMPTY_HASH


@pytest.mark.parametrize("address", CHECKSUMMED)
@pytest.mark.parametrize("case", [str.lower, str.upper, str])
def test_checksummed__any_case__is_the_published_form(address, case):
    assert fields.checksummed("0x" + case(address[2:])) == address


@PROVEN
@given(st.binary(min_size=20, max_size=20))
def test_checksummed__any_address__is_what_the_library_says(raw):
    assert fields.checksummed("0x" + raw.hex()) == eth_utils.to_checksum_address(raw)


@pytest.mark.parametrize(
    "value",
    [
        "ab" * 20,
        "0X" + "ab" * 20,
        "0x" + "ab" * 19,
        "0x" + "ab" * 21,
        "0x" + "ag" * 20,
        "0x" + "ab" * 19 + "a ",
        "0x" + "ab" * 19 + "a\N{FULLWIDTH LATIN SMALL LETTER B}",
        "",
        b"\xab" * 20,
        bytearray(20),
        0xAB,
        None,
    ],
)
def test_address_fault__no_address__says_why(value):
    assert fields.address_fault(value)


@pytest.mark.parametrize("value", [bytearray(32), "0x" + "00" * 32, memoryview(bytes(32)), 0, None])
def test_bytes_fault__other_type__says_which(value):
    assert type(value).__name__ in fields.bytes_fault(value, 32)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_bytes_fault__other_length__says_both(length):
    assert fields.bytes_fault(bytes(length), 32) == f"has {length} bytes; give exactly 32"


@pytest.mark.parametrize("name", ["uint8", "uint16", "uint32", "uint64", "uint128", "uint256"])
def test_unsigned__limits__are_the_type_s(name):
    fault, top = fields.TYPES[name].fault, 2 ** int(name.removeprefix("uint"))
    assert fault(0) is None
    assert fault(top - 1) is None
    assert fault(top)
    assert fault(-1)


@pytest.mark.parametrize("word", [True, "5", 5.0, -1, 2**256, None])
def test_words_fault__one_bad_item__names_its_place(word):
    assert fields.words_fault((1, word, 3)).startswith("item 1 ")


@pytest.mark.parametrize("words", [[1], range(3), None, "12"])
def test_words_fault__not_a_tuple__is_refused(words):
    assert "tuple" in fields.words_fault(words)


def test_struct__attributes_and_type_differ_in_number__does_not_build():
    with pytest.raises(ValueError, match="shorter"):
        fields.struct("Pair(uint8 first,uint8 second)", ["first", "second", "third"])
