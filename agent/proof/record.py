"""A judgement as evidence: each market's features, scores, decision and item as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.decisions import Hold
from agent.judge import Judged, Judgement, Rules
from agent.plan import Plan
from models.scorer import MarketFactors, RiskScores


def encode_judgement(judgement: Judgement) -> dict[str, Any]:
    """Write a judgement as fields of a bundle, one a market and stage."""
    fields: dict[str, Any] = {
        "words": [hex(word) for word in judgement.words],
        "validity_s": judgement.validity_s,
    }
    for judged in judgement.judged:
        fields |= {f"{name}/{judged.market}": value for name, value in _stages(judged).items()}
    return fields


def _stages(judged: Judged) -> dict[str, Any]:
    stages: dict[str, Any] = {"outcome": encode_outcome(judged.outcome)}
    if judged.features is not None:
        pairs = zip(judged.features.names, judged.features.values, strict=True)
        stages["features"] = dict(pairs)
    if judged.scores is not None:
        stages["scores"] = encode_scores(judged.scores)
    if judged.decision is not None:
        stages["decision"] = shallow(judged.decision)
    return stages


def encode_scores(scores: RiskScores) -> dict[str, Any]:
    """Write a market's scores; tails by horizon: long 99 %, 99.5 %, then short."""
    return {
        "volatility": scores.volatility,
        "tail_long": scores.tail_long,
        "tail_short": scores.tail_short,
        "tails": {
            str(tail.horizon_s): [
                *(tail.long_990, tail.long_995),
                *(tail.short_990, tail.short_995),
            ]
            for tail in scores.tails
        },
        "slippage_ratio": scores.liquidity.slippage_ratio,
        "stressed_depth_usdc": scores.liquidity.stressed_depth_usdc,
        "out_of_domain": scores.out_of_domain,
    }


def encode_factors(factors: Mapping[int, MarketFactors]) -> dict[str, Any]:
    """Write the online factors of every market: pairs of 99 % and 99.5 %, one pair a horizon."""
    return {str(market): {"long": own.long, "short": own.short} for market, own in factors.items()}


def decode_factors(content: Mapping[str, Any]) -> dict[int, MarketFactors]:
    """Read factors back; a bundle without any was made without."""
    return {
        int(market): MarketFactors(
            long=tuple((a, b) for a, b in own["long"]),
            short=tuple((a, b) for a, b in own["short"]),
        )
        for market, own in content.items()
    }


def shallow(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the house's frozen values
    """Give a frozen value's fields by name; `dataclasses.asdict` would copy each number."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def encode_outcome(outcome: Plan | Hold) -> dict[str, Any]:
    """Write an item or a hold."""
    if isinstance(outcome, Hold):
        return {"hold": outcome.reason.value, "detail": outcome.detail}
    return {
        "move": outcome.move.value,
        "note": outcome.note,
        "parameters": shallow(outcome.parameters),
        "word": hex(outcome.word),
    }


def encode_rules(rules: Rules) -> dict[str, Any]:
    """Write the rules that a judgement was made by."""
    return rules.model_dump(mode="json")


def decode_rules(value: Mapping[str, Any]) -> Rules:
    """Read rules back."""
    return Rules.model_validate(dict(value), strict=False)
