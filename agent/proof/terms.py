"""Whether terms reproduce: offer them again from their evidence, and compare field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import Settings
from agent.errors import ConfigError, EvidenceError
from agent.proof.books import decode_book, decode_readings
from agent.proof.hours import decode_hours
from agent.proof.verify import Difference, differing, require_kind
from agent.proof.verifying import UNREADABLE, bundle_of, model_of
from agent.quoting.assessment import Assessment, MarketAssessment, scores_from
from agent.quoting.desk import plain_terms
from agent.quoting.offer import Footing, NoOffer, quote
from agent.quoting.risk import Forecasts
from agent.quoting.rules import QuoteSettings
from agent.quoting.trial import Ask
from contracts.margin import SizeE18
from contracts.messages import Adjustment, MarginMode, Side
from contracts.units import LeverageE2, MarketId, UnixMs, UsdcE6
from models.accounts import AccountScore
from models.risk_heads import RiskHeads
from relayer.evidence import EvidenceStore, check, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsReport:
    """Terms as their evidence has them, and everything about it that does not hold."""

    evidence_hash: bytes
    terms: Mapping[str, Any]
    broken: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def reproduces(self) -> bool:
        """Tell whether the terms are those that their evidence leads to."""
        return not self.broken and not self.differences


def verify_kept(settings: Settings, evidence_hash: bytes, folder: Path) -> TermsReport:
    """Verify terms by the hash of their evidence, which their message carries.

    Raises
    ------
    EvidenceError
        It is not there: never kept here, or past its retention.
    ConfigError
        Their model is not here.
    """
    bundle = bundle_of(EvidenceStore(folder), evidence_hash)
    broken, fields = check(bundle, evidence_hash), unpack(bundle)
    found: tuple[Difference, ...] = ()
    try:
        require_kind(fields, "terms")
        risks = model_of(bytes.fromhex(fields["model_hash"]), settings).risks
        found = verify_terms(fields, risks)
    except ConfigError:
        raise
    except UNREADABLE as fault:
        if not broken:
            raise EvidenceError(f"the bundle holds no readable terms: {fault}") from fault
        broken = (*broken, f"(unreadable) {fault}")
    return TermsReport(
        evidence_hash=evidence_hash,
        terms=fields.get("terms", {}),
        broken=broken,
        differences=found,
    )


def verify_terms(fields: Mapping[str, Any], risks: RiskHeads | None) -> tuple[Difference, ...]:
    """Offer the recorded wish again in the recorded books; compare every field of the terms."""
    ask = _ask(fields["ask"])
    offer = quote(ask, _footing(fields, ask, risks))
    if isinstance(offer, NoOffer):
        refused = f"refused: {offer.reason}, {offer.detail}"
        return (Difference(field="terms", recorded="offered", recomputed=refused),)
    again, recorded = plain_terms(offer.terms), dict(fields["terms"])
    fatal = offer.figures.trial.liquidation_price
    price = None if fatal is None else str(fatal)
    chances = offer.figures.risk.chances
    return (
        *differing("terms", recorded, again),
        *differing("chance_method", fields["chance_method"], chances.method if chances else None),
        *differing("liquidation_price", fields["liquidation_price"], price),
    )


def _footing(fields: Mapping[str, Any], ask: Ask, risks: RiskHeads | None) -> Footing:
    """Put together what the offer stood on."""
    judged_at = UnixMs(fields["judged_at_ms"])
    recorded, score, hours = fields["scores"], fields["account_score"], fields["hours"]
    judged = MarketAssessment(
        market=ask.market,
        scores=scores_from(ask.market, judged_at, recorded) if recorded else None,
        reasons=tuple(fields["market_reasons"]),
    )
    return Footing(
        book=decode_book(fields["book"]),
        readings=decode_readings(fields["readings"]),
        symbols={ask.market: fields["symbol"]},
        assessment=Assessment(as_of_ms=judged_at, markets={ask.market: judged}),
        now_ms=fields["as_of_ms"],
        model_hash=bytes.fromhex(fields["model_hash"]),
        forecasts=Forecasts(heads=risks, markets=decode_hours(hours) if hours else None),
        score=AccountScore(**score) if score else None,
        settings=QuoteSettings.model_validate(fields["settings"], strict=False),
    )


def _ask(content: Mapping[str, Any]) -> Ask:
    """Read a wish back."""
    margin = content["margin"]
    return Ask(
        account=content["account"],
        market=MarketId(int(content["market"])),
        side=Side(int(content["side"])),
        mode=MarginMode(int(content["mode"])),
        adjustment=Adjustment(int(content["adjustment"])),
        size=SizeE18(int(content["size"])),
        leverage_e2=LeverageE2(int(content["leverage_e2"])),
        margin=None if margin is None else UsdcE6(int(margin)),
    )


def lines_of(report: TermsReport) -> Iterator[str]:
    """Write terms as a person reads them."""
    yield f"terms         evidence 0x{report.evidence_hash.hex()}"
    for name, value in report.terms.items():
        yield f"  {name:<24} {value}"
