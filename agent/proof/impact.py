"""The impact budget as evidence: the books counted in, what was released, and each verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from agent.errors import EvidenceError
from agent.impact import (
    Approval,
    Exposure,
    ImpactSettings,
    NoEngine,
    NotSeen,
    Seen,
    Weighing,
)
from agent.proof.books import decode_book, decode_readings, encode_book, encode_readings
from agent.proof.record import encode_outcome
from contracts.impact import Impact
from contracts.units import MarketId, UnixMs, UsdcE6

FIELDS: Final = ("impact_rules", "exposure", "approvals")
NO_ENGINE: Final = "no_engine"
AMOUNTS: Final = ("notional", "open_interest")


def encode_ground(
    seen: Seen | None, approvals: Sequence[Approval], settings: ImpactSettings
) -> dict[str, Any]:
    """Write what a cycle's plans were weighed by."""
    return {
        "impact_rules": settings.model_dump(mode="json"),
        "exposure": encode_seen(seen),
        "approvals": [encode_approval(each) for each in approvals],
    }


def decode_ground(
    fields: Mapping[str, Any],
) -> tuple[Seen | None, tuple[Approval, ...], ImpactSettings]:
    """Read it back.

    Raises
    ------
    EvidenceError
        It is not what `encode_ground` writes.
    """
    try:
        settings = ImpactSettings.model_validate(fields["impact_rules"], strict=False)
        approvals = tuple(decode_approval(each) for each in fields["approvals"])
        return decode_seen(fields["exposure"]), approvals, settings
    except (KeyError, TypeError, ValueError) as fault:
        raise EvidenceError(f"the bundle holds no readable impact budget: {fault!r}") from fault


def encode_weighing(weighing: Weighing) -> dict[str, Any]:
    """Write every verdict, and what the steps that go come to together."""
    fields: dict[str, Any] = {
        f"impact/{step.market}": {
            "verdict": step.verdict.value,
            "impact": encode_impact(step.impact),
            "used_ppm": step.used_ppm,
            "step": encode_outcome(step.plan),
            "ramp_s": step.ramp_s,
            "live": hex(step.live),
            "detail": step.detail,
            "approval": step.approval,
        }
        for step in weighing.steps
    }
    if weighing.steps:
        cycle = {**encode_impact(weighing.cycle), "used_ppm": weighing.cycle_used_ppm}
        fields["impact/cycle"] = cycle
    if weighing.void:
        fields["impact/void"] = {str(number): why for number, why in weighing.void.items()}
    return fields


def encode_impact(impact: Impact) -> dict[str, Any]:
    """Write counts; amounts as text, beyond 2^53 other readers of JSON would round them."""
    return {
        name: str(value) if name in AMOUNTS else value for name, value in asdict(impact).items()
    }


def decode_impact(content: Mapping[str, Any]) -> Impact:
    """Read counts back."""
    return Impact(
        accounts=content["accounts"],
        notional=UsdcE6(int(content["notional"])),
        liquidatable=content["liquidatable"],
        touched=content["touched"],
        open_interest=UsdcE6(int(content["open_interest"])),
    )


def encode_seen(seen: Seen | None) -> Any:  # noqa: ANN401 - a JSON value
    """Write the books that were looked at, or why they were not; None: nothing asked for a look."""
    if isinstance(seen, Exposure):
        return {
            "block_number": seen.block_number,
            "book": encode_book(seen.book),
            "readings": encode_readings(seen.readings),
        }
    if isinstance(seen, NotSeen):
        return {"not_seen": seen.detail}
    return NO_ENGINE if isinstance(seen, NoEngine) else None


def decode_seen(content: Any) -> Seen | None:  # noqa: ANN401 - a JSON value
    """Read them back."""
    if content is None:
        return None
    if content == NO_ENGINE:
        return NoEngine()
    if "not_seen" in content:
        return NotSeen(detail=content["not_seen"])
    return Exposure(
        book=decode_book(content["book"]),
        readings=decode_readings(content["readings"]),
        block_number=content["block_number"],
    )


def encode_approval(approval: Approval) -> dict[str, Any]:
    """Write what was released, by whom, when and why."""
    return {
        "number": approval.number,
        "market": approval.market,
        "word": hex(approval.word),
        "live": hex(approval.live),
        "impact": encode_impact(approval.impact),
        "expires_at_ms": approval.expires_at_ms,
        "by": approval.by,
        "why": approval.why,
        "at_ms": approval.at_ms,
    }


def decode_approval(content: Mapping[str, Any]) -> Approval:
    """Read it back."""
    return Approval(
        number=content["number"],
        market=MarketId(content["market"]),
        word=int(content["word"], 16),
        live=int(content["live"], 16),
        impact=decode_impact(content["impact"]),
        expires_at_ms=UnixMs(content["expires_at_ms"]),
        by=content["by"],
        why=content["why"],
        at_ms=UnixMs(content["at_ms"]),
    )
