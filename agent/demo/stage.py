"""What the demo's story plays on: a daemon, its world, and a clock that the story moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.app import Daemon
from agent.config import Settings
from agent.cycle import CycleResult, risk_cycle
from agent.positions.action_turn import Acted
from agent.positions.ahead import ahead_of
from agent.positions.look import Turn
from agent.positions.warn import Warned
from agent.prices import TickResult, price_tick
from agent.standing import Standing, standing_of
from contracts.units import UnixS
from relayer.chain.reads import read_chain
from relayer.local import client
from relayer.local.state import WorldState
from relayer.market.jumps import JumpWatch

MINUTE_MS = 60_000
Say = Callable[[str], None]


class StepFailed(Exception):  # noqa: N818 - named for what happened
    """A step of the story did not come out as it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A turn that changed a position: what it was before and after."""

    before: int
    after: int
    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What the daemon did and said in the storm, for the steps that look at it afterwards."""

    parts: list[Part] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    warned: dict[str, Warned] = field(default_factory=dict)

    @property
    def acted(self) -> tuple[Acted, ...]:
        """Every signed action that was sent or dropped."""
        return tuple(each for turn in self.turns for each in turn.sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the story plays on; `seen` holds what the last tick accepted."""

    world: WorldState
    daemon: Daemon
    settings: Settings
    say: Say
    seen: list[JumpWatch]
    storm: Storm = field(default_factory=Storm)

    async def tick(self) -> TickResult:
        """Look at prices once."""
        marks, prices = self.settings.marks, self.settings.prices
        result = await price_tick(self.daemon.hands, marks, prices, self.seen[-1])
        self.seen[:] = [result.seen]
        self.daemon.telemetry.tick(result)
        return result

    async def cycle(self) -> CycleResult:
        """Decide once."""
        result = await risk_cycle(self.daemon.hands, self.daemon.mind, self.seen[-1])
        self.daemon.judged.take(result)
        self.daemon.telemetry.cycle(result)
        if self.daemon.positions is not None:
            at_ms = result.entry.finished_at_ms
            await self.daemon.positions.after_cycle(ahead_of(result), at_ms)
        return result

    async def keep(self) -> Turn:
        """Take one turn over positions: follow the chain, execute and liquidate what may be."""
        assert self.daemon.positions is not None, "the local network deploys margin"
        return await self.daemon.positions.turn()

    async def minutes(self, count: int, step: int = 1) -> list[CycleResult]:
        """Let minutes pass: prices and a decision every `step` of them."""
        results = []
        for _ in range(0, count, step):
            await self.pass_to(await self.now_ms() + step * MINUTE_MS)
            await self.tick()
            results.append(await self.cycle())
        return results

    async def now_ms(self) -> int:
        """Give the clock's time."""
        return await self.daemon.hands.clock.now_ms()

    async def pass_to(self, at_ms: int) -> None:
        """Move the world's clock on."""
        client.advance(self.world, max(at_ms, await self.now_ms()))

    async def standing(self) -> Standing:
        """Read what the contracts hold."""
        state = await read_chain(self.daemon.endpoint, self.daemon.deployment)
        return standing_of(self.daemon.deployment, state, UnixS(await self.now_ms() // 1_000))

    def show(self, standing: Standing) -> None:
        """Print what the contracts hold."""
        for market in standing.markets:
            symbol, price, _, _, cap, maintenance, open_interest, _, state = market.row()
            first = f"    {symbol:>5}  {price:>9}  cap {cap:>7}  maintenance {maintenance:>8}"
            self.say(f"{first}  open interest up to {open_interest:>9}  {state}")


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Fail the step unless something holds."""
    if not holds:
        raise StepFailed(otherwise)
