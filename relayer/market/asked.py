"""Which days a process asked for already, and when to ask anew: what a store need not write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from relayer.market.values import DAY_MS, HOUR_MS, CandleSeries

ASK_AGAIN_MS: Final = HOUR_MS  # for bars that no two venues agreed on

DayKey = tuple[str, int, int]  # our name of the market, bar length, day


class AskedDays:
    """Days without bars, with gaps, and with bars in doubt, as this process met them."""

    def __init__(self) -> None:
        self._barless: set[DayKey] = set()  # days that no venue has bars of
        self._rechecked: set[DayKey] = set()  # days whose gaps were asked for again
        self._doubted: dict[DayKey, int] = {}  # not to be sealed, and when to ask again

    def is_barless(self, key: DayKey) -> bool:
        """Tell whether no venue has bars of a day."""
        return key in self._barless

    def is_doubted(self, key: DayKey) -> bool:
        """Tell whether a day has bars that no two venues agreed on."""
        return key in self._doubted

    def note_barless(self, key: DayKey) -> None:
        """Note that no venue has bars of a day."""
        self._barless.add(key)

    def note_doubted(self, symbol: str, bar_ms: int, opens_ms: Iterable[int], now_ms: int) -> None:
        """Keep the days of bars in doubt open, and ask for them anew, but not at once."""
        for day in {at_ms // DAY_MS for at_ms in opens_ms}:
            self._doubted[symbol, bar_ms, day] = now_ms + ASK_AGAIN_MS

    def reopen(self, now_ms: int) -> None:
        """Let days in doubt be asked for from their start, when their time has come."""
        for key in [key for key, at_ms in self._doubted.items() if at_ms <= now_ms]:
            del self._doubted[key]
            self._rechecked.discard(key)

    def missing_from(self, key: DayKey, bars: CandleSeries) -> int:
        """Say where a day is to be continued: after its last bar.

        Once a process it starts anew where bars are missing inside.
        """
        start_ms = key[2] * DAY_MS
        if not len(bars):
            return start_ms
        next_ms = int(bars.open_ms[-1]) + bars.bar_ms
        whole = len(bars) * bars.bar_ms == next_ms - start_ms
        if whole or key in self._rechecked:
            return next_ms
        self._rechecked.add(key)
        return start_ms
