"""Wishes as interfaces send them become what the desk is asked."""

from __future__ import annotations

import pytest

from agent.quoting.answers import ask_of
from contracts.messages import MarginMode
from relayer.http.schemas import QuoteRequest

WISH = {
    "account": "0x" + "a1" * 20,
    "market": "BTC",
    "side": "long",
    "size_e18": "1000000000000000000",
    "leverage_e2": 500,
}


@pytest.mark.parametrize(
    ("named", "default", "meant"),
    [
        (None, "isolated", MarginMode.ISOLATED),
        (None, "cross", MarginMode.CROSS),
        ("isolated", "cross", MarginMode.ISOLATED),
        ("cross", "isolated", MarginMode.CROSS),
    ],
)
def test_ask_of__mode__is_the_traders__else_the_operators(
    named: str | None, default: str, meant: MarginMode
) -> None:
    wish = WISH if named is None else WISH | {"mode": named}
    assert ask_of(QuoteRequest.model_validate(wish), 0, default).mode is meant
