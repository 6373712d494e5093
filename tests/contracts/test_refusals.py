"""The table of refusals is the sources' table, and each of its numbers is reached by a test."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from contracts.artifacts import FOLDER
from contracts.fields import keccak256
from contracts.refusals import (
    MEANINGS,
    REFUSED_SELECTOR,
    Refusal,
    Skip,
    decode_refusal,
    unpack_skip,
)
from tests.contracts import (
    test_desk,
    test_liquidator_refusals,
    test_refusals_engine,
    test_refusals_envelope,
    test_refusals_halts,
    test_refusals_pool,
    test_refusals_price_feed,
    test_refusals_risk_oracle,
    test_refusals_vault,
    test_views,
)

MODULES = (
    test_desk,
    test_liquidator_refusals,
    test_views,
    test_refusals_engine,
    test_refusals_envelope,
    test_refusals_halts,
    test_refusals_pool,
    test_refusals_price_feed,
    test_refusals_risk_oracle,
    test_refusals_vault,
)
SOURCES = sorted(FOLDER.glob("*.vy"))


def named_tests(module: ModuleType) -> list[str]:
    plain = [name for name in vars(module) if name.startswith("test_")]
    classes = [item for name, item in vars(module).items() if name.startswith("Test")]
    return plain + [name for item in classes for name in vars(item) if name.startswith("test_")]


def test_numbers__in_the_sources__are_the_table_s():
    text = (FOLDER / "refusals.vy").read_text(encoding="utf-8")
    found = re.findall(r"^([A-Z_]+): constant\(uint256\) = (\d+)$", text, re.MULTILINE)
    assert {name: int(number) for name, number in found} == {
        item.name: item.value for item in Refusal
    }


@pytest.mark.parametrize("refusal", Refusal)
def test_number__of_the_table__is_used_in_a_source(refusal):
    used = re.compile(rf"refusals\.{refusal.name}\b")
    assert any(used.search(source.read_text(encoding="utf-8")) for source in SOURCES)


@pytest.mark.parametrize("refusal", Refusal)
def test_number__of_the_table__is_reached_by_a_test_named_for_it(refusal):
    ending = re.compile(rf"__(refuses|skips)_{refusal.name.lower()}(_and_others)?$")
    assert [name for module in MODULES for name in named_tests(module) if ending.search(name)]


@pytest.mark.parametrize("refusal", Refusal)
def test_meaning__of_each__is_one_line_that_ends(refusal):
    assert MEANINGS[refusal].endswith(".")
    assert "\n" not in MEANINGS[refusal]


@pytest.mark.parametrize("refusal", Refusal)
def test_docs__refusal__stands_there_as_in_the_table(refusal):
    text = (FOLDER.parent / "docs" / "contracts.md").read_text(encoding="utf-8")
    assert f"| {refusal.value} | `{refusal.name}` | {MEANINGS[refusal]} |\n" in text


def test_numbers__of_items__are_apart_from_others():
    assert all(item < 2**16 for item in Refusal)
    assert {item for item in Refusal if 50 <= item < 80} >= {Refusal.NOT_CANONICAL}


def test_decode_refusal__of_the_contract_s_bytes__names_it():
    assert keccak256(b"Refused(uint256)")[:4] == REFUSED_SELECTOR
    data = REFUSED_SELECTOR + int(Refusal.TOO_SOON).to_bytes(32, "big")
    assert decode_refusal(data) is Refusal.TOO_SOON


@pytest.mark.parametrize(
    "data", [b"", b"\x01" * 36, REFUSED_SELECTOR + bytes(32), REFUSED_SELECTOR + b"\x01"]
)
def test_decode_refusal__other_bytes__is_none(data):
    assert decode_refusal(data) is None


def test_skip__packed__unpacks():
    skip = Skip(market=65_535, refusal=Refusal.DRIFT_SPENT)
    assert unpack_skip(skip.packed) == skip
