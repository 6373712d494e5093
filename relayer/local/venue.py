"""One local exchange: what it lists, what it sees now, and how it was told to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from relayer.local.instruments import Instrument
from relayer.local.synthetic import TopOfBook, top_of_book, venue_bias
from relayer.local.tape import Spot

Funding = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]


class VenueMode(StrEnum):
    """How a venue, or one market of it, behaves."""

    OK = "ok"
    DOWN = "down"  # drops every connection; for one market: does not list its ticker
    SLOW = "slow"  # answers after `delay_s` of the wall
    STALE = "stale"  # answers what it saw when it was told to, with the stamps of then
    OFF = "off"  # multiplies every price by `factor`


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One instruction to misbehave."""

    mode: VenueMode
    since_ms: int
    factor: float = 1.0
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One market as a venue shows it at one instant."""

    instrument: Instrument
    at_ms: int  # the instant that the venue believes in
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
        self.instruments = instruments
        self.funding = funding
        self._by_id = {each.inst_id: each for each in instruments}
        self._now_ms = now_ms
        self._faults: dict[str | None, Fault] = {}  # by unified symbol; None is the whole venue

    def set_fault(self, symbol: str | None, fault: Fault) -> None:
        """Make the venue, or one market of it, misbehave; OK for the venue ends everything."""
        if fault.mode is not VenueMode.OK:
            self._faults[symbol] = fault
        elif symbol is None:
            self._faults.clear()
        else:
            self._faults.pop(symbol, None)

    def whole_fault(self) -> Fault | None:
        """Give the fault of the venue as a whole."""
        return self._faults.get(None)

    def now_ms(self, symbol: str | None = None) -> int:
        """Give the time that the venue believes in, for one market or for all."""
        fault = self._fault(symbol)
        if fault is not None and fault.mode is VenueMode.STALE:
            return fault.since_ms
        return self._now_ms()

    def find(self, inst_id: str) -> Instrument | None:
        """Find a listed perpetual."""
        return self._by_id.get(inst_id)

    def view(self, listed: Instrument) -> View | None:
        """Give what the venue shows of a market now; None before its first bar, or when told so."""
        symbol = listed.tape.symbol
        fault = self._fault(symbol)
        if fault is not None and fault.mode is VenueMode.DOWN:
            return None
        at_ms = self.now_ms(symbol)
        spot = listed.tape.spot(at_ms)
        if spot is None:
            return None
        factor = fault.factor if fault is not None and fault.mode is VenueMode.OFF else 1.0
        bias = venue_bias(self.seed, self.index, symbol) * factor
        top = top_of_book(listed.tape, spot, self.seed, self.index)
        return View(instrument=listed, at_ms=at_ms, spot=spot, top=_scaled(top, factor), bias=bias)

    def live(self, listed: Instrument) -> bool:
        """Tell whether a market trades now: it has started and not ended."""
        return listed.tape.starts_ms <= self.now_ms() < listed.tape.ends_ms

    def _fault(self, symbol: str | None) -> Fault | None:
        """Give the fault that concerns a market: its own, else the venue's."""
        return self._faults.get(symbol) or self._faults.get(None)


def _scaled(top: TopOfBook, factor: float) -> TopOfBook:
    """Multiply the prices of a quote."""
    return TopOfBook(
        mid=top.mid * factor,
        mark=top.mark * factor,
        last=top.last * factor,
        half_spread=top.half_spread,
        range_bp=top.range_bp,
    )
