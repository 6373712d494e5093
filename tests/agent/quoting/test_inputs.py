"""What is typed at `aml quote`: read exactly, or refused in one sentence."""

from __future__ import annotations

import pytest

from agent.errors import ConfigError
from agent.quoting import inputs as read
from agent.quoting.answers import SIDES
from tests.agent.test_cli import refused

SYMBOLS = {0: "BTC", 1: "ETH", 2: "SOL"}
CHECKSUMMED = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"


@pytest.mark.parametrize("text", [CHECKSUMMED, CHECKSUMMED.lower(), "0x" + CHECKSUMMED[2:].upper()])
def test_address__in_any_honest_case__is_itself(text: str) -> None:
    assert read.address(text) == CHECKSUMMED


def test_address__mistyped_digit__names_the_right_case() -> None:
    with pytest.raises(ConfigError, match="mistyped"):
        read.address(CHECKSUMMED[:-1] + "6")


@pytest.mark.parametrize("text", ["", "0x", "vitalik.eth", CHECKSUMMED[2:], CHECKSUMMED + "0"])
def test_address__none__says_what_one_is(text: str) -> None:
    with pytest.raises(ConfigError, match="40 hexadecimal"):
        read.address(text)


def test_market__unknown__offers_the_nearest() -> None:
    assert read.market("eth", SYMBOLS) == 1
    with pytest.raises(ConfigError, match="did you mean ETH"):
        read.market("ETHH", SYMBOLS)
    with pytest.raises(ConfigError, match="BTC, ETH, SOL"):
        read.market("zzzz", SYMBOLS)


@pytest.mark.parametrize(
    ("text", "expected"), [("0.25", 25 * 10**16), ("1e3", 10**21), ("1_000", 10**21)]
)
def test_size__is_read_exactly(text: str, expected: int) -> None:
    assert read.size(text) == expected


@pytest.mark.parametrize(
    "text", ["0", "-1", "1e99", "nan", "inf", "a lot", "0.0000000000000000001"]
)
def test_size__that_is_none__is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="size"):
        read.size(text)


def test_leverage__with_or_without_x() -> None:
    assert read.leverage("12.5x") == read.leverage("12.5") == 1_250


@pytest.mark.parametrize("text", ["0.5", "0", "-3x", "9999", "2.005", "x"])
def test_leverage__that_is_none__is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="leverage"):
        read.leverage(text)


def test_margin__none_or_an_amount() -> None:
    assert read.margin(None) is None
    assert read.margin("12.5") == 12_500_000
    with pytest.raises(ConfigError, match="margin"):
        read.margin("-1")


def test_choice__other_word__lists_them() -> None:
    with pytest.raises(ConfigError, match="long, short"):
        read.choice("side", "up", SIDES)


def test_command__nothing_runs__says_how_to_start(tmp_path) -> None:
    said = refused("quote", CHECKSUMMED, "BTC", "long", "1", "5x", "--state", str(tmp_path))
    assert "aml local up" in said
