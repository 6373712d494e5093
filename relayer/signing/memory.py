"""What a signer has put its name to: one message a round, for ever, also after a restart."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from relayer.signing.values import Proposal
from relayer.storage import Database, signed_rounds


class SignedRounds:
    """The memory of every signer that uses this database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, signer: str, proposal: Proposal, now_ms: int) -> bytes:
        """Return the digest that stands for the round: this one, or the one signed before.

        It is on disk when this returns, so a signature that follows can be repeated, and never
        contradicted.
        """
        values = {
            "signer": signer,
            "chain_id": proposal.domain.chain_id,
            "contract": proposal.domain.contract,
            "round": proposal.message.round,
        }
        entry = {**values, "digest": proposal.digest, "signed_at_ms": now_ms}
        same = sa.and_(*(signed_rounds.c[name] == value for name, value in values.items()))
        found = sa.select(signed_rounds.c.digest).where(same)

        def work(connection: Connection) -> bytes:
            before: bytes | None = connection.scalar(found)
            if before is None:
                connection.execute(sa.insert(signed_rounds).values(entry))
            return proposal.digest if before is None else before

        try:
            return await self._database.write(work)
        except IntegrityError:  # another process of this signer was quicker: its word stands
            standing: bytes | None = await self._database.read(lambda c: c.scalar(found))
            assert standing is not None
            return standing

    async def highest_round(self, signer: str, chain_id: int, contract: str) -> int:
        """Return the highest round that a signer has signed for a contract; 0 when none."""
        query = sa.select(sa.func.max(signed_rounds.c.round)).where(
            signed_rounds.c.signer == signer,
            signed_rounds.c.chain_id == chain_id,
            signed_rounds.c.contract == contract,
        )
        highest: int | None = await self._database.read(lambda c: c.scalar(query))
        return highest or 0
