"""What a signer checks of an update's effect on open positions, as it counts that itself."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.units import PPM
from relayer.signing.values import OwnImpact, Refusal, RefusalReason, SignerRules


def wrong_impact(own: OwnImpact | None, rules: SignerRules) -> Iterator[Refusal]:
    """Object to what goes beyond the signer's own budget, or comes faster than it would let it.

    None: it does not count. What an operator released at this signer goes, at its own ramp.
    """
    if own is None:
        return
    if own.unknown:
        yield Refusal(reason=RefusalReason.IMPACT_UNKNOWN, field="words", detail=own.unknown)
        return
    most_ppm = PPM + rules.tolerances.impact_ppm
    for market, step in own.steps.items():
        if step.released:
            continue
        name = f"impact of market {market}"
        if max(step.used_ppm, own.together_ppm) > most_ppm:
            of_all = "" if step.used_ppm > most_ppm else _said(own, most_ppm)
            detail = f"{step.detail}{of_all}"
            yield Refusal(reason=RefusalReason.IMPACT_BEYOND_BUDGET, field=name, detail=detail)
        elif step.ramp_s < step.least_ramp_s:
            detail = f"ramped over {step.ramp_s} s, at least {step.least_ramp_s}: {step.detail}"
            yield Refusal(reason=RefusalReason.IMPACT_TOO_FAST, field=name, detail=detail)


def _said(own: OwnImpact, most_ppm: int) -> str:
    together = own.together_ppm / 10_000
    return f"; with what goes beside it {together:.0f} %, at most {most_ppm / 10_000:.0f} %"
