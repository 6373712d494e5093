"""Facts about what liquidation waits for, as it is read from the contracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from contracts.book_words import Account
from relayer.chain.index_paces import read_graces
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment, MarginContracts
from relayer.chain.views import view
from relayer.errors import Misconfigured

LIQUIDATOR = "0x" + "1a" * 20
STAMP = BlockStamp(number=7, block_hash=b"\xbb" * 32, timestamp_s=1, base_fee_wei=0)
GRACES = view("graces(address)", "uint256")


class Answering:
    """An endpoint whose liquidator has begun each account's grace at the account's own number."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    async def batch(self, calls: Sequence[Any]) -> tuple[Any, ...]:
        header = {
            "number": "0x7",
            "hash": "0x" + "bb" * 32,
            "timestamp": "0x1",
            "baseFeePerGas": "0x0",
        }
        asked = [
            (request["to"], bytes.fromhex(request["data"][2:])) for _, (request, _) in calls[1:]
        ]
        self.asked += asked
        return (header, *("0x" + data[4:].hex() for _, data in asked))


def deployment(margin: MarginContracts | None) -> Deployment:
    return Deployment(
        chain_id=1,
        price_feed="0x" + "01" * 20,
        risk_oracle="0x" + "02" * 20,
        block_number=0,
        markets=(),
        margin=margin,
    )


def contracts() -> MarginContracts:
    places = ("token", "vault", "pool", "engine", "desk", "views")
    return MarginContracts(
        liquidator=LIQUIDATOR, **{name: "0x" + f"{at:02x}" * 20 for at, name in enumerate(places)}
    )


async def test_graces__of_some_accounts__are_the_liquidator_s() -> None:
    endpoint = Answering()
    found = await read_graces(endpoint, deployment(contracts()), STAMP, [Account(3), Account(5)])  # type: ignore[arg-type]
    assert found == {3: 3, 5: 5}
    assert endpoint.asked == [
        (LIQUIDATOR, GRACES.payload(f"0x{account:040x}")) for account in (3, 5)
    ]


async def test_graces__without_margin_contracts__cannot_be_asked() -> None:
    with pytest.raises(Misconfigured):
        await read_graces(Answering(), deployment(None), STAMP, [Account(3)])  # type: ignore[arg-type]
