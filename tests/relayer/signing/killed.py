"""A signer in a process that never gets from remembering to answering: its key hangs."""

from __future__ import annotations

import asyncio
import sys
import time

from relayer.signing.keys import Key
from relayer.signing.memory import SignedRounds
from relayer.signing.signer import Signer, SignerPorts
from tests.relayer import builders as b
from tests.relayer.signing.test_signer import REMEMBERED, Views


class Hanging(Key):
    """A key that is asked, says so, and never answers."""

    def sign_digest(self, digest: bytes) -> bytes:
        print(REMEMBERED, flush=True)  # noqa: T201 - to whoever waits to kill this process
        time.sleep(600)
        raise AssertionError(digest)


async def main(url: str) -> None:
    """Sign in a database that outlives this process."""
    async with b.database(url) as database:
        ports = SignerPorts(views=Views(), memory=SignedRounds(database))
        key = Hanging(b.PRICE_KEYS[0]._private)
        await Signer("signer-0", key, ports, b.signer_rules()).sign(b.price_proposal())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
