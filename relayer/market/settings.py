"""What one venue is configured to be: parsed once at the entry point, frozen afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class VenueSettings(BaseModel):
    """One venue, as the configuration names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(min_length=1)  # our own name for it: labels metrics, names its vote
    ccxt_class: str = Field(min_length=1)
    quote_currency: str = "USDT"
    stablecoin_symbol: str | None = None  # spot, USDC/USDT or USDT/USDC, to convert what it quotes
    urls: Mapping[str, str] = Field(default_factory=dict)  # replaces entries of ccxt's urls.api
    timeout_s: float = Field(default=3.0, gt=0, le=60)
    rate_limit_ms: int | None = Field(default=None, ge=1)  # between calls; None: ccxt's own
    book_levels: int = Field(default=400, ge=1, le=5_000)

    def ccxt_config(self) -> dict[str, Any]:
        """Write the settings as ccxt's constructor takes them."""
        types = ["swap"] if self.stablecoin_symbol is None else ["spot", "swap"]
        config: dict[str, Any] = {
            "enableRateLimit": True,
            "timeout": int(self.timeout_s * 1_000),
            "options": {"defaultType": "swap", "fetchMarkets": {"types": types}},
        }
        if self.urls:
            config["urls"] = {"api": dict(self.urls)}
        if self.rate_limit_ms is not None:
            config["rateLimit"] = self.rate_limit_ms
        return config
