"""What one venue is configured to be: parsed once at the entry point, frozen afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from relayer.market.dialects import dialect_of

StreamKind = Literal["quotes", "trades", "liquidations", "books"]


class VenueSettings(BaseModel):
    """One venue, as the configuration names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(min_length=1)  # our own name for it: labels metrics, names its vote
    ccxt_class: str = Field(min_length=1)
    quote_currency: str = "USDT"
    stablecoin_symbol: str | None = None  # spot, USDC/USDT or USDT/USDC, to convert what it quotes
    # Replaces entries of ccxt's urls.api; a dot goes one level down: "ws.public.linear".
    urls: Mapping[str, str] = Field(default_factory=dict)
    timeout_s: float = Field(default=3.0, gt=0, le=60)
    rate_limit_ms: int | None = Field(default=None, ge=1)  # between calls; None: ccxt's own
    book_levels: int = Field(default=400, ge=1, le=5_000)
    streams: tuple[StreamKind, ...] = ()  # what is followed by websocket; REST where it is silent
    silent_after_s: float = Field(default=10.0, gt=0, le=300)  # then a websocket has ended

    def ccxt_config(self) -> dict[str, Any]:
        """Write the settings as ccxt's constructor takes them."""
        options: dict[str, Any] = {"defaultType": "swap"}
        types = dialect_of(self.ccxt_class).market_types(spot=self.stablecoin_symbol is not None)
        if types:
            options["fetchMarkets"] = {"types": list(types)}
        config: dict[str, Any] = {
            "enableRateLimit": True,
            "timeout": int(self.timeout_s * 1_000),
            "options": options,
        }
        if self.urls:
            config["urls"] = {"api": nested(self.urls)}
        if self.rate_limit_ms is not None:
            config["rateLimit"] = self.rate_limit_ms
        return config


def nested(flat: Mapping[str, str]) -> dict[str, Any]:
    """Turn dotted names into the tables that ccxt keeps its addresses in."""
    tables: dict[str, Any] = {}
    for name, value in flat.items():
        *folders, last = name.split(".")
        table = tables
        for folder in folders:
            table = table.setdefault(folder, {})
        table[last] = value
    return tables
