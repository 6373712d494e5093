"""What the app asks of the agent; it never sees a wallet, a key or the journal's database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from relayer.http.schemas import (
    AccountAnswer,
    Decisions,
    Health,
    Limits,
    Markets,
    Passes,
    QuoteAnswer,
    QuoteRequest,
    SimulateAnswer,
    SimulateRequest,
    WarningRow,
    Warnings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotGiven:
    """Nothing is given: why, which field is in the way, and what would pass."""

    reason: str
    field: str
    detail: str
    passes: Passes = Passes()  # noqa: RUF009 - frozen


class AgentPort(Protocol):
    """The agent, as interfaces may see it."""

    async def markets(self) -> Markets:
        """Give all markets at one block."""
        ...

    async def limits(self) -> Limits:
        """Give what may be decided now, and how far."""
        ...

    async def quote(self, asked: QuoteRequest) -> QuoteAnswer | NotGiven:
        """Offer signed terms, or say why not."""
        ...

    async def simulate(self, asked: SimulateRequest) -> SimulateAnswer | NotGiven:
        """Follow a hypothetical book along hypothetical prices."""
        ...

    async def account(self, address: str) -> AccountAnswer | NotGiven:
        """Give an account's positions and what is known of it."""
        ...

    async def warnings(self, account: str | None, limit: int) -> Warnings:
        """Give the warnings that stand, of one account or of all, the most urgent first."""
        ...

    def warned(self) -> AsyncGenerator[WarningRow, None]:
        """Give each warning as it is made, from now on."""
        ...

    async def decisions(self, limit: int) -> Decisions:
        """Give the newest decisions."""
        ...

    async def evidence(self, digest: bytes) -> bytes | None:
        """Give the bundle of a hash as it is stored, or None."""
        ...

    async def alive(self) -> Health:
        """Tell whether the loops make progress."""
        ...

    async def ready(self) -> Health:
        """Tell whether an answer would rest on fresh data."""
        ...
