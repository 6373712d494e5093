"""The figures of a recipe's walk, taken from its report onto the artifact's card."""

from __future__ import annotations

from models.card import card_text
from models.manifest import TrainedModel
from models.walked import walked_figures, with_walked

LINE = {"breaches": 0.011, "average": 0.18, "pinball": 0.0022}
REPORT = {
    "qlike_24h": {"ours": {"all": 0.37}, "log-HAR": {"all": 0.41}},
    "qlike_4h": {"ours": {"all": 0.69}},
    "tails_24h": [
        {"model": model, "side": side} | LINE for model in ("ours", "HAR") for side in ("long",)
    ],
    "tails_4h": [{"model": "ours", "side": "short"} | LINE],
    "short_horizon": {"ours": 0.7, "HAR": 0.9},
}


def test_walked_figures__report__gives_ours_alone():
    figures = walked_figures(REPORT)
    assert figures["walked_24h_qlike"] == 0.37
    assert figures["walked_24h_long_breaches"] == 0.011
    assert figures["walked_4h_short_pinball"] == 0.0022
    assert figures["walked_1h_qlike"] == 0.7
    assert len(figures) == 9


def test_with_walked__card__says_that_they_are_of_the_recipe(trained: TrainedModel):
    carried = with_walked(trained, REPORT)
    text = card_text("0" * 64, carried.manifest, carried.fitted)
    assert "The recipe, walked forward" in text
    assert "| 24h_qlike | 0.37 |" in text
    assert "The recipe, walked forward" not in card_text("0" * 64, trained.manifest, trained.fitted)
