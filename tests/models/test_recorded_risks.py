"""Recorded positions and accounts beside candles and simulation: each counts by its number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.accounts import HORIZON_MS, NAMES, AccountTable
from models.artifact import save
from models.card import card_text
from models.dataset import DatasetError
from models.heads import HORIZONS_S
from models.liquidation import LONG, SHORT, FirstPassage, PassageRows
from models.manifest import TrainedModel
from models.recorded_risks import (
    LEAST_ACCOUNTS,
    LEAST_EVENTS,
    NAME,
    RecordedAccounts,
    RecordedRisks,
    checked,
    together,
)
from models.samples import Recorded
from models.train import Recipe, train
from tests.models.fakes import small_files

DAY_MS = 86_400_000
CUTOFF_MS = 1_577_836_800_000  # 2020-01-01, the cutoff of the small model
QUICK = Recipe(trees=30, accounts=60, worlds=1)


def positions(count: int, hit_share: float, seed: int = 1) -> PassageRows:
    rng = np.random.default_rng(seed)
    hit = np.zeros(count)
    hit[: round(count * hit_share)] = 1.0
    return PassageRows(
        distance=rng.uniform(0.01, 0.06, count),
        deviation=np.full(count, 0.02),
        hit=rng.permutation(hit),
        as_of_ms=CUTOFF_MS - rng.integers(2, 200, count) * DAY_MS,
    )


def accounts(count: int, dead_share: float, seed: int = 2) -> RecordedAccounts:
    rng = np.random.default_rng(seed)
    return RecordedAccounts(
        table=AccountTable(
            accounts=np.arange(count, dtype=np.int64),
            values=rng.uniform(0.1, 1.0, (count, len(NAMES))),
            trades=np.full(count, 12.0),
        ),
        liquidated=(rng.random(count) < dead_share).astype(np.float64),
        as_of_ms=np.full(count, CUTOFF_MS - HORIZON_MS, dtype=np.int64),
    )


def risks(rows: PassageRows, people: RecordedAccounts) -> RecordedRisks:
    keys = [(horizon_s, side) for horizon_s in HORIZONS_S for side in (LONG, SHORT)]
    return RecordedRisks(passages=dict.fromkeys(keys, rows), accounts=people)


def recorded(found: RecordedRisks) -> Recorded:
    return Recorded(name=NAME, sha256=found.sha256, risks=found)


def shuffled(found: RecordedRisks) -> RecordedRisks:
    order = np.random.default_rng(9).permutation(len(found.accounts))
    turned = {
        key: PassageRows(
            distance=rows.distance[::-1],
            deviation=rows.deviation[::-1],
            hit=rows.hit[::-1],
            as_of_ms=rows.as_of_ms[::-1],
        )
        for key, rows in reversed(found.passages.items())
    }
    return replace(found, passages=turned, accounts=found.accounts.select(order))


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """The small model with 1,000 positions that were nearly all liquidated, and 400 accounts."""
    files = small_files(tmp_path_factory.mktemp("candles"))
    found = risks(positions(1_000, 0.9), accounts(400, 0.7))
    return train(files, recipe=QUICK, recorded=[recorded(found)])


def test_train__positions_liquidated_more_often__raise_the_chance(
    trained: TrainedModel, joined: TrainedModel
):
    at, wide = np.array([0.02, 0.04]), np.full(2, 0.02)
    before, after = trained.fitted.risks, joined.fitted.risks
    assert before is not None
    assert after is not None
    for own, other in zip(before.passages, after.passages, strict=True):
        for side in ("long", "short"):
            plain = getattr(own, side).predict(at, wide)
            assert (getattr(other, side).predict(at, wide) > plain).all()


def test_train__accounts_liquidated_more_often__raise_the_prior(
    trained: TrainedModel, joined: TrainedModel
):
    before, after = trained.fitted.risks, joined.fitted.risks
    assert before is not None
    assert after is not None
    assert after.accounts.prior_ > before.accounts.prior_
    assert after.accounts.origin_ == "simulated trader population and 400 recorded accounts"


def test_train__forecasts__are_not_touched_by_positions(
    trained: TrainedModel, joined: TrainedModel
):
    for one, other in zip(trained.fitted.heads, joined.fitted.heads, strict=True):
        assert one.long.quantiles_.tolist() == other.long.quantiles_.tolist()


def test_train__rows_in_another_order__give_the_same_hash(joined: TrainedModel, tmp_path: Path):
    found = shuffled(risks(positions(1_000, 0.9), accounts(400, 0.7)))
    again = train(small_files(tmp_path), recipe=QUICK, recorded=[recorded(found)])
    assert save(again, tmp_path / "b").name == save(joined, tmp_path / "a").name


def test_train__too_few_rows__change_no_head_and_are_counted_as_none(
    trained: TrainedModel, tmp_path: Path
):
    few = risks(positions(2 * LEAST_EVENTS, 0.3), accounts(LEAST_ACCOUNTS - 1, 0.5))
    model = train(small_files(tmp_path), recipe=QUICK, recorded=[recorded(few)])
    before, after = trained.fitted.risks, model.fitted.risks
    assert before is not None
    assert after is not None
    for own, other in zip(before.passages, after.passages, strict=True):
        assert own.long.coefficients_.tolist() == other.long.coefficients_.tolist()
        assert own.short.intercept_ == other.short.intercept_
    assert before.accounts.coefficients_.tolist() == after.accounts.coefficients_.tolist()
    assert model.manifest.metrics["recorded_accounts"] == 0.0
    assert model.manifest.metrics["recorded_positions_900_long"] == 0.0
    assert NAME not in model.manifest.data_files.values()
    assert "15 min long: 100 positions, 30 liquidated: too few, left out" in few.lines()


def test_train__outcomes_after_the_cutoff__are_not_learned_from(
    trained: TrainedModel, tmp_path: Path
):
    late = risks(positions(1_000, 0.9), accounts(400, 0.7))
    late = replace(
        late,
        passages={
            key: replace(rows, as_of_ms=rows.as_of_ms + 200 * DAY_MS)
            for key, rows in late.passages.items()
        },
        accounts=replace(late.accounts, as_of_ms=late.accounts.as_of_ms + 1),
    )
    model = train(small_files(tmp_path), recipe=QUICK, recorded=[recorded(late)])
    before, after = trained.fitted.risks, model.fitted.risks
    assert before is not None
    assert after is not None
    assert before.accounts.prior_ == after.accounts.prior_
    assert before.passages[0].long.intercept_ == after.passages[0].long.intercept_


def test_card_and_manifest__say_how_many_rows_of_each_source(joined: TrainedModel):
    metrics = joined.manifest.metrics
    assert metrics["recorded_positions_86400_short"] == 1_000.0
    assert metrics["recorded_accounts"] == 400.0
    assert metrics["simulated_accounts"] == 3_000.0
    text = card_text("ab" * 32, joined.manifest, joined.fitted)
    assert "900 s long 1000" in text
    assert "and 400 recorded accounts." in text
    assert "not to real accounts" not in text


def test_passage__more_recorded_rows__come_nearer_to_what_was_recorded():
    rng = np.random.default_rng(3)
    deviation = 0.02 * np.exp(0.4 * rng.standard_normal(4_000))
    excursion = np.abs(rng.standard_normal(4_000)) * deviation
    stamps = np.full(4_000, CUTOFF_MS, dtype=np.int64)
    at = np.array([0.03])
    chances = [
        float(
            FirstPassage()
            .fit(deviation, excursion, stamps, positions(count, 1.0) if count else None)
            .predict(at, at * 0.0 + 0.02)[0]
        )
        for count in (0, 200, 2_000, 20_000)
    ]
    assert chances == sorted(chances)
    assert chances[1] < chances[0] + 0.05
    assert chances[3] > chances[0] + 0.3


def test_checked__a_bad_row_in_a_hundred__is_left_out_more_refuse_the_record():
    found = replace(risks(positions(200, 0.5), accounts(0, 0.5)), refused=("row 7: no distance",))
    assert checked(found, 200) is found
    assert found.lines()[-1] == "1 bad rows left out, the first: row 7: no distance"
    with pytest.raises(DatasetError, match=r"1 of 50 rows .* row 7: no distance"):
        checked(found, 50)


def test_together__nothing__is_an_empty_record():
    found = together([])
    assert found.population() is None
    assert not found.learns
    assert all(len(rows.hit) == 0 for rows in found.passages.values())
