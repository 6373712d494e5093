"""What a signer has put its name to: one message a round, for ever, also after a restart."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from relayer.signing.values import Proposal
from relayer.storage import Database, signed_rounds

# In words that SQLite and PostgreSQL share; one statement, because it lies on the price path.
_REMEMBER: Final = sa.text(
    "INSERT INTO signed_rounds (signer, chain_id, contract, round, digest, signed_at_ms)"
    " VALUES (:signer, :chain_id, :contract, :round, :digest, :signed_at_ms)"
    " ON CONFLICT DO NOTHING"
)
_STANDING: Final = sa.text(
    "SELECT digest FROM signed_rounds WHERE signer = :signer AND chain_id = :chain_id"
    " AND contract = :contract AND round = :round"
)


class SignedRounds:
    """The memory of every signer that uses this database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, signer: str, round_: int, proposal: Proposal, now_ms: int) -> bytes:
        """Return the digest that stands for the round: this one, or the one signed before.

        It is on disk when this returns, so a signature that follows can be repeated, and never
        contradicted, whichever process of this signer comes first.
        """
        place = {
            "signer": signer,
            "chain_id": proposal.domain.chain_id,
            "contract": proposal.domain.contract,
            "round": round_,
        }
        entry = {**place, "digest": proposal.digest, "signed_at_ms": now_ms}

        def work(connection: Connection) -> bytes:
            if connection.execute(_REMEMBER, entry).rowcount == 1:
                return proposal.digest
            return bytes(connection.execute(_STANDING, place).scalar_one())

        return await self._database.write(work)

    async def signed_above(self, chain_id: int, contract: str, above: int) -> frozenset[int]:
        """Return the rounds above one that any signer here has put its name to."""
        query = sa.select(signed_rounds.c.round).where(
            signed_rounds.c.chain_id == chain_id,
            signed_rounds.c.contract == contract,
            signed_rounds.c.round > above,
        )
        return frozenset(await self._database.read(lambda c: c.scalars(query).all()))
