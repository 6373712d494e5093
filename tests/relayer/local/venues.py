"""One exchange in this process, over small made-up candles and a clock of the test's."""

from __future__ import annotations

from dataclasses import replace

from relayer.local.faults import Fault, VenueMode
from relayer.local.instruments import instrument
from relayer.local.venue import Venue
from tests.relayer.local.recordings import STARTS_MS, tape

SYMBOL = "BTC/USDT:USDT"
INST_ID = "BTC-USDT-SWAP"


class Hands:
    """A venue and the clock it reads."""

    def __init__(self, minutes: int = 600, *, index: int = 0) -> None:
        self.now_ms = STARTS_MS + 300 * 60_000
        self.tape = tape(minutes)
        self.venue = Venue(
            index=index,
            seed=1,
            instruments=(instrument(self.tape),),
            funding={},
            now_ms=lambda: self.now_ms,
        )

    def tell(self, mode: VenueMode, **details: object) -> None:
        fault = Fault(mode=mode, since_ms=self.now_ms)
        self.venue.faults.set_fault(None, replace(fault, **details))
