"""One local exchange: what it lists, what it sees now, and how it was told to misbehave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from relayer.local.faults import FaultBoard, VenueMode
from relayer.local.instruments import Instrument
from relayer.local.synthetic import BASIS_POINT, TopOfBook, top_of_book, venue_bias
from relayer.local.tape import Bar, Spot

CROSSED_BP: Final = 5.0  # how far bid stands above ask, half of it each side of the mid

Funding = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One market as a venue shows it at one instant."""

    instrument: Instrument
    at_ms: int  # the instant that the venue believes in
    stamp_ms: int  # what it writes on its answers: the spot's time, unless it was told to lie
    spot: Spot
    top: TopOfBook
    bias: float  # factor between recorded prices and the venue's


class Venue:
    """One exchange over the recording; it answers by seed, venue, market and time alone."""

    def __init__(
        self,
        *,
        index: int,
        seed: int,
        instruments: tuple[Instrument, ...],
        funding: Funding,
        now_ms: Callable[[], int],
    ) -> None:
        self.index = index
        self.seed = seed
        self.funding = funding
        self.faults = FaultBoard()
        self._instruments = instruments
        self._by_id = {each.inst_id: each for each in instruments}
        self._now_ms = now_ms

    @property
    def symbols(self) -> tuple[str, ...]:
        """List the markets that it may list, by ccxt's unified names."""
        return tuple(each.tape.symbol for each in self._instruments)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """List what it lists now, under the names of now."""
        if not self._renames():
            return self._instruments
        listed = (self._listed(each) for each in self._instruments)
        return tuple(each for each in listed if each is not None)

    def is_(self, mode: VenueMode, symbol: str | None = None) -> bool:
        """Tell whether a way to misbehave is in force, for a market or for the whole venue."""
        return self.faults.active(mode, symbol, self._now_ms()) is not None

    def now_ms(self, symbol: str | None = None) -> int:
        """Give the time that the venue's clock shows, for one market or for all."""
        now = self._now_ms()
        stale = self.faults.active(VenueMode.STALE, symbol, now)
        skew = self.faults.active(VenueMode.SKEW, symbol, now)
        shown = now if stale is None else stale.since_ms
        return shown if skew is None else shown + skew.skew_ms

    def clock_ms(self) -> int:
        """Give the time of the world's clock."""
        return self._now_ms()

    def find(self, inst_id: str) -> Instrument | None:
        """Find a perpetual that is listed now."""
        if not self._renames():
            return self._by_id.get(inst_id)
        return next((each for each in self.instruments if each.inst_id == inst_id), None)

    def view(self, listed: Instrument) -> View | None:
        """Give what the venue shows of a market now; None before its first bar, or when told so."""
        symbol, now = listed.tape.symbol, self._now_ms()
        faults = self.faults
        if faults.active(VenueMode.DOWN, symbol, now) is not None:
            return None
        stale = faults.active(VenueMode.STALE, symbol, now)
        frozen = faults.active(VenueMode.FROZEN, symbol, now)
        at_ms = min([now, *(each.since_ms for each in (stale, frozen) if each is not None)])
        spot = listed.tape.spot(at_ms)
        if spot is None:
            return None
        stamp_ms = now if frozen is not None and spot.live and stale is None else spot.observed_ms
        skew = faults.active(VenueMode.SKEW, symbol, now)
        off = faults.active(VenueMode.OFF, symbol, now)
        factor = off.factor if off is not None else 1.0
        top = _scaled(top_of_book(listed.tape, spot, self.seed, self.index), factor)
        if faults.active(VenueMode.CROSSED, symbol, now) is not None:
            top = dataclasses.replace(top, half_spread=-CROSSED_BP / 2 * BASIS_POINT)
        return View(
            instrument=listed,
            at_ms=at_ms,
            stamp_ms=stamp_ms + (skew.skew_ms if skew is not None else 0),
            spot=spot,
            top=top,
            bias=venue_bias(self.seed, self.index, symbol) * factor,
        )

    def live(self, listed: Instrument) -> bool:
        """Tell whether a market trades now: it has started and not ended."""
        return listed.tape.starts_ms <= self.now_ms() < listed.tape.ends_ms

    def has_bar(self, listed: Instrument, bar: Bar) -> bool:
        """Tell whether the venue was not told to miss a bar."""
        gaps = self.faults.of(VenueMode.GAPS)
        return not any(each.concerns(listed.tape.symbol, bar.open_ms) for each in gaps)

    def _renames(self) -> bool:
        """Tell whether any market was told to change its listing, ever."""
        return bool(self.faults.of(VenueMode.DELISTED) or self.faults.of(VenueMode.RENAMED))

    def _listed(self, each: Instrument) -> Instrument | None:
        """Give a market as it is listed now: under another name, or not at all."""
        symbol, now = each.tape.symbol, self._now_ms()
        if self.faults.active(VenueMode.DELISTED, symbol, now) is not None:
            return None
        renamed = self.faults.active(VenueMode.RENAMED, symbol, now)
        return each if renamed is None else each.renamed(renamed.name)


def _scaled(top: TopOfBook, factor: float) -> TopOfBook:
    """Multiply the prices of a quote."""
    return dataclasses.replace(
        top, mid=top.mid * factor, mark=top.mark * factor, last=top.last * factor
    )
