"""What the card calls horizons, columns and measures."""

from __future__ import annotations

import pytest

from models.artifact import default_artifact, load
from models.card_words import column_words, measure_words, span_words, walked_lines
from models.html_card import html_card
from models.manifest import TrainedModel
from models.walked import with_walked
from tests.models.test_walked import REPORT


@pytest.mark.parametrize(
    ("horizon_s", "words"), [(900, "15 min"), (3_600, "1 h"), (14_400, "4 h"), (86_400, "24 h")]
)
def test_span__horizon__is_said_in_minutes_or_hours(horizon_s: int, words: str):
    assert span_words(horizon_s) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hours_squared_720", "variance by returns, month"),
        ("market_surge_168", "all markets: variance against its month, week"),
        ("clock_weekend", "weekend ahead"),
        ("not_known", "not_known"),
    ],
)
def test_column__name__is_put_into_words(name: str, words: str):
    assert column_words(name) == words


def test_column__every_one_that_the_shipped_forecast_reads__has_words():
    head = load(default_artifact()).scorer._model.heads[-1]
    words = [column_words(name) for name in head.names]
    assert not set(words) & set(head.names)
    assert len(set(words)) == len(words)


def test_measure__figure_of_training__is_put_into_words():
    assert measure_words("fold_qlike_900_minutes") == "QLIKE of later folds, 15 min, minute candles"
    assert measure_words("rows_hours") == "instants learned from, hourly candles"
    assert measure_words("some_thing") == "some thing"


def test_walked__figures__are_one_line_a_horizon_and_side(trained: TrainedModel):
    carried = with_walked(trained, REPORT)
    assert walked_lines(carried.manifest) == [
        ("1 h", "0.7000", "", "", "", "", ""),
        ("4 h", "0.6900", "short", "0.50%", "1.10%", "18.00%", "22.00"),
        ("24 h", "0.3700", "long", "1.00%", "1.10%", "18.00%", "22.00"),
    ]
    assert not walked_lines(trained.manifest)


def test_card__shipped_artifact__shows_the_walk_of_its_recipe():
    page = html_card(load(default_artifact()), [])
    assert "The recipe, walked forward" in page
    assert "fold_qlike" not in page
    assert "walked_" not in page
