"""How many proposals a signer takes in a stretch of time: the rest is refused before it costs."""

from __future__ import annotations


class Pace:
    """A bucket that fills at `per_s` up to `burst`; each proposal takes one."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self.per_s = per_s
        self._burst = float(burst)
        self._left = self._burst
        self._at_s: float | None = None

    def takes(self, now_s: float) -> bool:
        """Tell whether one more may come now, and count it."""
        if self._at_s is not None:
            gained = max(0.0, now_s - self._at_s) * self.per_s
            self._left = min(self._burst, self._left + gained)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
