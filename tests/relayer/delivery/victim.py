"""A daemon to be killed: delivers what the outbox has, and never ends by itself.

usage: python -m tests.relayer.delivery.victim DATABASE_URL RPC_URL
"""

from __future__ import annotations

import asyncio
import sys

from relayer.chain.endpoints import ChainEndpoint, SendCapability
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.fees import FeeRules
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.transactor import Transactor
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer.anvil import rich_key


class Standing:
    """A clock that stands where the test's messages are valid."""

    async def now_ms(self) -> int:
        return b.NOW_MS


async def main(database_url: str, rpc_url: str) -> None:
    endpoint = await ChainEndpoint.open(rpc_url, chain_id=b.CHAIN_ID)
    endpoint.sends_by = SendCapability.POLL
    ports = Ports(
        chain=endpoint,
        read_back=ContractReadBack(endpoint),
        outbox=Outbox(Database.open(database_url)),
        clock=Standing(),
        timer=LoopTimer(),
        metrics=b.metrics(),
    )
    await Transactor(rich_key(), ports, DeliveryRules(fees=FeeRules())).resume()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
