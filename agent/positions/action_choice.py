"""Which of the positions in trouble are acted on in this turn, in whose market and at what pace.

One action an account at a time, in each market a share of its size scale a minute; then a position
rests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from agent.positions.action_law import Intended
from agent.positions.actions import (
    ActionSettings,
    Case,
    Withheld,
    intended,
    within_windows,
)
from agent.positions.ahead import NOTHING_AHEAD
from agent.positions.cascade import NOTHING_FORESEEN, Foreseen
from agent.proof.actions import Grounds, odds_of
from contracts.book import Book
from contracts.book_readings import Readings
from contracts.book_words import Account, PositionId, split_position_id
from contracts.messages import ActionKind, Domain
from contracts.units import MarketId

MS = 1_000
MINUTE_MS = 60_000
_FIRST = {ActionKind.LIQUIDATE: 0, ActionKind.DELEVERAGE: 1, ActionKind.ADJUST: 2}

Chosen = tuple[Case, Grounds, Intended]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The law's book of some accounts at one block, and in whose name messages are signed."""

    book: Book
    readings: Readings
    block: tuple[int, bytes]
    domain: Domain
    now_ms: int
    foreseen: Foreseen = NOTHING_FORESEEN


class Chooser:
    """Judges each candidate by itself, and remembers whom to let alone and what a market had."""

    def __init__(self, settings: ActionSettings, caller: Account) -> None:
        self._settings = settings
        self._caller = caller
        self._resting: dict[PositionId, int] = {}
        self._used: list[tuple[int, MarketId, float]] = []
        self.ahead = NOTHING_AHEAD

    def retune(self, settings: ActionSettings) -> None:
        """Choose by other settings."""
        self._settings = settings

    def choose(
        self, scene: Scene, candidates: Sequence[PositionId], waiting: Collection[Account]
    ) -> tuple[list[Chosen], list[Withheld]]:
        """Judge each candidate on its own account's book; keep to windows and the turn's limit.

        Accounts for which something waits already are let be, and what was closed since it was
        warned of.
        """
        self._forget(scene.now_ms)
        if scene.now_ms - self.ahead.as_of_ms > self._settings.forecast_age_s * MS:
            return [], [Withheld.NO_FORECAST] * len(candidates)
        found: list[Chosen] = []
        withheld, accounts = [], set(waiting)
        for identity in candidates[: self._settings.looked_at_a_turn]:
            account = split_position_id(identity)[0]
            is_closed = identity not in scene.book.positions
            if is_closed or identity in self._resting or account in accounts:
                continue
            grounds = self.grounds(scene, account)
            case = self.case(scene, grounds, identity)
            what = intended(grounds.book, grounds.readings, case, self._settings)
            if isinstance(what, Withheld):
                withheld.append(what)
                continue
            accounts.add(account)  # one at a time: what it does changes what the next would
            found.append((case, grounds, what))
        found.sort(key=lambda each: (_FIRST[each[2].kind], -_chance(each[0])))
        kept = within_windows([what for *_, what in found], *self._windows(scene))
        chosen = {each.identity for each in kept[: self._settings.actions_a_turn]}
        self._note_used(scene, [w for *_, w in found if w.identity in chosen])
        return [each for each in found if each[2].identity in chosen], withheld

    def rest(self, identity: PositionId, now_ms: int) -> None:
        """Let a position alone for a while."""
        self._resting[identity] = now_ms + self._settings.rest_s * MS

    def case(self, scene: Scene, grounds: Grounds, identity: PositionId) -> Case:
        """Put a position's case together."""
        return Case(
            identity=identity,
            odds=odds_of(grounds, identity, grounds.ahead.heads),
            markets=grounds.ahead.markets,
            caller=self._caller,
            now_ms=scene.now_ms,
        )

    def grounds(self, scene: Scene, account: Account) -> Grounds:
        """Take one account's part of the scene: what a judgement on it may read, and no more."""
        mine = {k: v for k, v in scene.book.positions.items() if split_position_id(k)[0] == account}
        markets = {split_position_id(identity)[1] for identity in mine}
        book = replace(
            scene.book,
            positions=mine,
            accounts={account: scene.book.account(account)},
            markets={m: each for m, each in scene.book.markets.items() if m in markets},
            paces={m: each for m, each in scene.book.paces.items() if m in markets},
            graces={a: each for a, each in scene.book.graces.items() if a == account},
            requests=frozenset(),
        )
        read = {m: each for m, each in scene.readings.markets.items() if m in markets}
        foreseen = {m: each for m, each in self.ahead.markets.items() if m in markets}
        return Grounds(
            book=book,
            readings=replace(scene.readings, markets=read),
            ahead=replace(self.ahead, markets=foreseen),
            settings=self._settings,
            block=scene.block,
            domain=scene.domain,
            foreseen=scene.foreseen,
        )

    def _windows(self, scene: Scene) -> tuple[dict[int, int], dict[int, float]]:
        """Give each market's price, and what its window of a minute has left in USDC."""
        prices: dict[int, int] = {}
        left: dict[int, float] = {}
        for market, reading in scene.readings.markets.items():
            used = sum(amount for _, where, amount in self._used if where == market)
            scale = reading.limits.size_scale_usdc * self._settings.window_ratio
            prices[market], left[market] = reading.mark.price, scale - used
        return prices, left

    def _note_used(self, scene: Scene, chosen: Sequence[Intended]) -> None:
        for each in chosen:
            market = split_position_id(each.identity)[1]
            amount = each.max_size * scene.readings.markets[market].mark.price / 10**36
            self._used.append((scene.now_ms, market, amount))

    def _forget(self, now_ms: int) -> None:
        self._used = [each for each in self._used if now_ms - each[0] < MINUTE_MS]
        self._resting = {k: until for k, until in self._resting.items() if until > now_ms}


def _chance(case: Case) -> float:
    return max(case.odds.probabilities) if case.odds is not None else 0.0
