"""Judging on any candle file, and the page that shows it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from models.artifact import LoadedModel, default_artifact, load
from models.dataset import DatasetError, hour_rows, read_series
from models.features import HOUR_MS
from models.html_card import html_card
from models.judging import judge
from models.registry import gates
from models.rivals import judged_rival
from models.side_by_side import tail_line, writable
from tests.models.fakes import AS_OF_MS, DAY_MS, frame


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load(default_artifact())


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "new.parquet"
    parts = [frame(f"NEW{seed}/X", HOUR_MS, 24 * 150, seed=seed) for seed in range(3)]
    pd.concat(parts).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def report(model: LoadedModel, candles: Path) -> dict[str, Any]:
    return judge(model, candles, 86_400)


def test_judge__symbols_never_seen__are_scored_beside_baselines(
    model: LoadedModel, report: dict[str, Any]
):
    assert report["modelHash"] == model.model_hash.hex()
    assert report["markets"] == 3
    assert report["rows"] > 200
    assert report["qlike"]["ours"] < report["qlike"]["ewma"]
    for side in ("long", "short"):
        assert 0.0 <= report["sides"][side]["breach_share"] < 0.1
        assert 0.0 <= report["sides"][side]["basel_green"] <= 1.0


def test_judge__every_baseline__is_judged_on_what_it_forecasts_beside_ours_there(
    report: dict[str, Any],
):
    lines = {line["model"]: line for line in report["baselines"]}
    assert set(lines) >= {
        "static two years",
        "raw boosted quantile",
        "EWMA(0.94)",
        "EWMA(0.97)",
        "EWMA(0.994)",
        "HAR",
        "log-HAR",
    }
    for name in ("EWMA(0.94)", "HAR", "log-HAR"):
        line = lines[name]
        assert 0 < line["rows"] <= report["rows"]
        assert line["qlike"] > 0.0
        assert line["long"]["rows"] == line["long_ours"]["rows"] == line["rows"]


def test_judge__dated_tiers__count_from_the_day_they_are_in_force(
    model: LoadedModel, candles: Path, tmp_path: Path
):
    began = pd.Timestamp(AS_OF_MS - 30 * DAY_MS, unit="ms", tz="UTC")
    tiers = {"snapshot": [began], "symbol": ["NEW0/X"], "min_notional": [0.0]}
    tiers |= {"max_notional": [1e5], "mmr": [0.004]}
    pd.DataFrame(tiers).to_parquet(tmp_path / "tiers.parquet")
    report = judge(model, candles, 86_400, tiers=tmp_path / "tiers.parquet")
    lines = {line["model"]: line for line in report["baselines"]}
    small = lines["exchange tiers, 10,000"]
    assert small["rows"] == 30
    assert small["long"]["average"] == pytest.approx(0.004)
    assert small["long"]["breach_share"] > small["long_ours"]["breach_share"]
    assert lines["exchange tiers, 1,000,000"]["rows"] == 0


def test_judge__file_that_is_no_table_of_tiers__is_refused(
    model: LoadedModel, candles: Path, tmp_path: Path
):
    with pytest.raises(DatasetError, match="no tiers"):
        judge(model, candles, 86_400, tiers=tmp_path / "absent.parquet")


def test_judge__report__is_json_and_is_what_the_gates_read(report: dict[str, Any]):
    read = json.loads(json.dumps(report, allow_nan=False))
    assert {gate.name for gate in gates(read)} >= {"rows", "QLIKE over that of the EWMA"}


def test_judge__twice__gives_the_same_report(
    model: LoadedModel, candles: Path, report: dict[str, Any]
):
    assert judge(model, candles, 86_400) == report


def test_judge__file_with_gaps_bad_ticks_and_young_markets__is_judged_where_it_can(
    model: LoadedModel, tmp_path: Path
):
    whole = frame("WHOLE/X", HOUR_MS, 24 * 60, seed=5)
    gap = frame("GAP/X", HOUR_MS, 24 * 60, seed=6).drop(index=range(800, 860))
    ticks = frame("TICKS/X", HOUR_MS, 24 * 60, seed=7)
    ticks.loc[900, ["close", "low"]] = -1.0
    ticks.loc[901, "high"] = ticks.loc[901, "low"] / 2.0
    ticks.loc[902, "volume"] = float("inf")
    ticks.loc[903, ["open", "high", "low", "close"]] = float("nan")
    young = frame("YOUNG/X", HOUR_MS, 24 * 2, seed=8)
    path = tmp_path / "odd.parquet"
    pd.concat([whole, gap, ticks, young]).to_parquet(path)
    report = judge(model, path, 86_400)
    rows = {each["symbol"]: each["rows"] for each in report["assets"]}
    assert set(rows) == {"WHOLE/X", "GAP/X", "TICKS/X"}
    assert rows["GAP/X"] < rows["WHOLE/X"]
    json.dumps(report, allow_nan=False)


def test_rival__quantiles_of_nothing_or_less__still_have_a_loss_and_a_cycle(candles: Path):
    series = next(iter(read_series(candles)))
    rows = hour_rows(series, horizons_s=(86_400,), stride_ms=DAY_MS)
    below = np.full((len(rows.as_of_ms), 2), -0.01)
    below[0] = np.nan
    judged = judged_rival(rows, np.zeros(len(below)), (below, np.zeros(below.shape)))
    assert np.isnan(judged.long[0]).all()
    known = judged.select(np.isfinite(judged.long[:, 0]) & np.isfinite(judged.falls))
    for long in (True, False):
        line = tail_line(known, 0.99, long=long)
        assert all(math.isfinite(value) for value in line.values())


def test_report__what_is_no_number__is_written_as_nothing():
    report = {"a": [1.0, math.nan], "b": {"c": math.inf, "d": "x", "e": 3, "f": None}}
    assert writable(report) == {"a": [1.0, None], "b": {"c": None, "d": "x", "e": 3, "f": None}}


def test_judge__no_market_with_history__is_refused(model: LoadedModel, tmp_path: Path):
    path = tmp_path / "young.parquet"
    frame("YOUNG/X", HOUR_MS, 24 * 2, seed=8).to_parquet(path)
    with pytest.raises(DatasetError, match="no market has the history"):
        judge(model, path, 86_400)


def test_judge__horizon_shorter_than_the_bars__is_refused(model: LoadedModel, candles: Path):
    with pytest.raises(DatasetError, match="too long for 900 s"):
        judge(model, candles, 900)
    with pytest.raises(DatasetError, match="no head"):
        judge(model, candles, 60)


def test_judge__horizon_of_one_bar_that_is_no_hour__is_refused(model: LoadedModel, tmp_path: Path):
    path = tmp_path / "quarters.parquet"
    frame("QUARTER/X", HOUR_MS // 4, 24 * 4 * 10, seed=3).to_parquet(path)
    with pytest.raises(DatasetError, match="too long for 900 s"):
        judge(model, path, 900)


@pytest.fixture(scope="module")
def page(model: LoadedModel, report: dict[str, Any]) -> str:
    crisis = {
        "name": "made <up>",
        "ours": [20.0, 5.0, 8.0],
        "tiers": [20.0, 20.0, 20.0],
        "labels": ["2022-05-09", "2022-05-10", "2022-05-11"],
    }
    return html_card(model, [report | {"caps": [crisis]}])


def test_card__page__needs_nothing_else_and_parses(page: str):
    body = page[page.index("<body>") : page.index("</html>")]
    assert ElementTree.fromstring(body) is not None
    for outside in ("http", "<script", "<link", "<img", "url(", "@import", "src="):
        assert outside not in page
    assert "made &lt;up&gt;" in page


@pytest.mark.parametrize(
    "section",
    [
        "Gates on new.parquet, 24 h",
        "Judged on new.parquet, 24 h",
        "Long side",
        "Short side",
        "Calibration: forecast and realised deviation",
        "Breaches from the calmest to the stormiest tenth",
        "Breaches over time",
        "Cap through a crisis: made",
        "By asset, worst first (3 of 3)",
        "What the forecast of the longest horizon reads",
        "What it was trained on",
        "simulated trader population",
    ],
)
def test_card__page__has_every_section(page: str, section: str):
    assert section in page


def test_card__plots__say_when_and_beside_what(page: str):
    assert page.count("<svg") == 5
    assert "2022-05-10" in page
    assert "exchange&#x27;s tier" in page
    assert "No tier of the given snapshots" not in page
    for baseline in ("EWMA(0.94)", "log-HAR", "static two years", "ours there"):
        assert baseline in page


def test_card__a_figure_that_could_not_be_measured__is_written_as_nan(
    model: LoadedModel, report: dict[str, Any]
):
    lines = report["sides"]["long"] | {"pinball": None}
    page = html_card(model, [report | {"sides": report["sides"] | {"long": lines}}])
    assert "<td>nan</td>" in page


def test_card__without_reports__says_so(model: LoadedModel):
    assert "No evaluation was given" in html_card(model, [])
