"""What Prometheus hears of markets and of the venues that make their marks."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from relayer.labelled import Labelled, unknown


class MarketMetrics:
    """Every gauge of a market, as attributes; each is NaN until it has been looked at."""

    def __init__(self, registry: CollectorRegistry, markets: tuple[str, ...]) -> None:
        def of_market(name: str, text: str) -> Labelled[Gauge]:
            gauge = Gauge(f"aml_market_{name}", text, ["market"], registry=registry)
            return unknown(Labelled(gauge, markets))

        self.price_age_seconds = of_market("price_age_seconds", "Age of the price on chain")
        self.decision_age_seconds = of_market(
            "decision_age_seconds", "Age of the parameters on chain"
        )
        self.venues_number = of_market(
            "venues_number", "Venues whose quotes make the mark; 0: there is no mark"
        )
        self.dispersion_ratio = of_market("dispersion_ratio", "How far the venues of a mark differ")
        self.leverage_cap_ratio = of_market("leverage_cap_ratio", "Leverage cap on chain")
        self.maintenance_ratio = of_market("maintenance_ratio", "Maintenance ratio on chain")


class VenueMetrics:
    """What each venue counts for; all three are of the last cycle that looked at venues."""

    def __init__(self, registry: CollectorRegistry, venues: tuple[str, ...]) -> None:
        def of_venue(name: str, text: str) -> Labelled[Gauge]:
            gauge = Gauge(f"aml_venue_{name}", text, ["venue"], registry=registry)
            return unknown(Labelled(gauge, venues))

        self.weight_ratio = of_venue(
            "weight_ratio",
            "Mean share of its vote in the marks of the markets that it quoted, last cycle",
        )
        self.used_ratio = of_venue(
            "used_ratio",
            "Markets in whose mark it counted, of those it quoted or was refused, last cycle",
        )
        self.quote_age_seconds = of_venue(
            "quote_age_seconds",
            "Median age of its quotes by its own stamps, last cycle; NaN: it gave none",
        )
