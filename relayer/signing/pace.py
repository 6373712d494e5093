"""How many proposals a signer takes in a stretch of time: the rest is refused before it costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Pace:
    """A bucket that fills at `per_s` up to `burst`; each proposal takes one."""

    per_s: float
    burst: int
    _left: float = 0.0
    _at_s: float | None = None

    def takes(self, now_s: float) -> bool:
        """Tell whether one more may come now, and count it."""
        if self._at_s is None:
            self._left = float(self.burst)
        else:
            gained = max(0.0, now_s - self._at_s) * self.per_s
            self._left = min(float(self.burst), self._left + gained)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
