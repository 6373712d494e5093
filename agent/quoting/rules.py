"""How terms are offered."""

from __future__ import annotations

from typing import Literal

from agent.settings import Field, Section


class QuoteSettings(Section):
    """When terms are offered, and with what reserve for a price that moves until they are used."""

    # The founding documents differ: one names isolated, another cross.
    default_mode: Literal["isolated", "cross"] = "isolated"
    judged_within_s: int = Field(default=600, ge=1)
    # How much worse the price may get before the order is executed; money is asked for with it.
    slippage_ppm: int = Field(default=5_000, ge=0, le=100_000)
    evidence_kept_s: int = Field(default=2_592_000, ge=3_600)  # of terms; of rounds it stays


DEFAULTS = QuoteSettings()
