"""Promotion: gates are enforced, each step is journalled in a chain, and one can go back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.artifact import ArtifactRefused, default_artifact, save
from models.manifest import TrainedModel
from models.registry import (
    JOURNAL,
    BrokenJournal,
    Evidence,
    NothingToRollBack,
    PromotionRefused,
    Registry,
    RegistryError,
    gates,
    reports_of,
)


def report(model: str, **changes: Any) -> dict[str, Any]:
    side = {
        "breach_share": 0.01,
        "kupiec_passed": 10,
        "symbols": 11,
        "worst_year_share": 0.013,
    }
    return {
        "modelHash": model,
        "candles": {"name": "c.parquet", "sha256": "ab"},
        "horizon_s": 86_400,
        "level": 0.99,
        "rows": 5_000,
        "refused_share": 0.0,
        "qlike": {"ours": 0.38, "ewma": 0.51},
        "sides": {"long": side, "short": dict(side)},
    } | changes


@pytest.fixture
def folder(trained: TrainedModel, tmp_path: Path) -> Path:
    return save(trained, tmp_path / "models")


def evidence(path: Path, model: str, champion: str | None = None, **changes: Any) -> Evidence:
    path.write_text(json.dumps(report(model, **changes)))
    if champion is None:
        return Evidence(report=path)
    other = path.with_suffix(".champion")
    other.write_text(json.dumps(report(champion)))
    return Evidence(report=path, champion_report=other)


def test_promote__every_gate_passed__is_champion_and_journalled(folder: Path, tmp_path: Path):
    registry, shipped = Registry(folder.parent), default_artifact()
    assert registry.champion() == shipped
    shown = evidence(tmp_path / "r", folder.name, shipped.name)
    step = registry.promote(folder.name, shown, reason="better in stress", at_ms=7)
    assert registry.champion() == folder
    assert registry.steps() == (step,)
    assert (step.kind, step.reason, step.at_ms) == ("promote", "better in stress", 7)
    assert step.gates
    assert all(gate.passed for gate in step.gates)


WORSE = [
    ({"rows": 10}, "rows"),
    ({"refused_share": 0.3}, "out of domain"),
    ({"qlike": {"ours": 0.5, "ewma": 0.51}}, "EWMA"),
    ({"qlike": {"ours": 0.39, "ewma": 0.51}}, "champion"),
]


@pytest.mark.parametrize(("change", "named"), WORSE)
def test_promote__a_gate_failed__is_refused_by_name(
    folder: Path, tmp_path: Path, change: dict[str, Any], named: str
):
    registry = Registry(folder.parent)
    shown = evidence(tmp_path / "r", folder.name, default_artifact().name, **change)
    with pytest.raises(PromotionRefused, match=named):
        registry.promote(folder.name, shown, reason="hope", at_ms=1)
    assert not registry.steps()
    step = registry.promote(folder.name, shown, reason="hope", at_ms=1, force=True)
    assert step.kind == "force"
    assert registry.champion() == folder


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("breach_share", 0.013),
        ("breach_share", 0.004),
        ("kupiec_passed", 9),
        ("worst_year_share", 0.02),
    ],
)
def test_gates__one_figure_of_a_side__fails_alone(side: str, figure: str, value: float):
    shown = report("m")
    shown["sides"][side] = shown["sides"][side] | {figure: value}
    failed = [gate for gate in gates(shown) if not gate.passed]
    assert len(failed) == 1
    assert failed[0].name.startswith(side)


def test_gates__a_missing_or_absent_figure__is_refused():
    shown = report("m")
    del shown["qlike"]
    with pytest.raises(PromotionRefused, match="lacks"):
        gates(shown)
    with pytest.raises(PromotionRefused, match="no figure"):
        gates(report("m", qlike={"ours": float("nan"), "ewma": 0.5}))


def test_promote__without_evidence_or_reason_or_comparison__is_refused(
    folder: Path, tmp_path: Path
):
    registry = Registry(folder.parent)
    with pytest.raises(PromotionRefused, match="needs a report"):
        registry.promote(folder.name, None, reason="x", at_ms=1)
    with pytest.raises(PromotionRefused, match="needs a reason"):
        registry.promote(folder.name, None, reason=" ", at_ms=1, force=True)
    with pytest.raises(PromotionRefused, match="champion-report"):
        registry.promote(folder.name, evidence(tmp_path / "r", folder.name), reason="x", at_ms=1)
    with pytest.raises(PromotionRefused, match="another model"):
        registry.promote(folder.name, evidence(tmp_path / "r", "cd"), reason="x", at_ms=1)


def test_promote__champion_on_other_candles__is_refused(folder: Path, tmp_path: Path):
    shown = evidence(
        tmp_path / "r",
        folder.name,
        default_artifact().name,
        candles={"name": "d.parquet", "sha256": "cd"},
    )
    with pytest.raises(PromotionRefused, match="same candles"):
        Registry(folder.parent).promote(folder.name, shown, reason="x", at_ms=1)


def test_promote__tampered_artifact__is_refused_even_by_force(folder: Path):
    (folder / "model.skops").write_bytes(b"x")
    with pytest.raises(ArtifactRefused):
        Registry(folder.parent).promote(folder.name, None, reason="x", at_ms=1, force=True)


@pytest.mark.parametrize("name", ["..", "abc", "F" * 64])
def test_promote__what_is_no_hash__is_refused(folder: Path, name: str):
    with pytest.raises(RegistryError, match="no model hash"):
        Registry(folder.parent).promote(name, None, reason="x", at_ms=1, force=True)


def test_rollback__goes_back_step_by_step_and_no_further(folder: Path):
    registry, shipped = Registry(folder.parent), default_artifact().name
    registry.promote(folder.name, None, reason="a", at_ms=1, force=True)
    registry.promote(shipped, None, reason="b", at_ms=2, force=True)
    assert registry.champion().name == shipped
    registry.rollback(reason="worse", at_ms=3)
    assert registry.champion().name == folder.name
    registry.rollback(reason="worse still", at_ms=4)
    assert registry.champion().name == shipped
    with pytest.raises(NothingToRollBack):
        registry.rollback(reason="further", at_ms=5)
    assert [step.kind for step in registry.steps()] == ["force", "force", "rollback", "rollback"]


@pytest.mark.parametrize("damage", ["changed", "lost", "garbage"])
def test_journal__a_line_changed_or_lost__is_noticed(folder: Path, damage: str):
    registry = Registry(folder.parent)
    for at_ms in (1, 2, 3):
        registry.promote(folder.name, None, reason="x", at_ms=at_ms, force=True)
    path = folder.parent / JOURNAL
    lines = path.read_text().splitlines()
    if damage == "changed":
        lines[0] = lines[0].replace('"x"', '"y"')
    elif damage == "lost":
        del lines[1]
    else:
        lines[1] = "{}"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(BrokenJournal, match="line 2"):
        registry.champion()


def test_reports__of_another_model_or_no_json__are_refused(tmp_path: Path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(report("ab")))
    assert reports_of("ab", [path])[0]["rows"] == 5_000
    with pytest.raises(PromotionRefused, match="another model"):
        reports_of("cd", [path])
    path.write_text("[1")
    with pytest.raises(PromotionRefused, match="not JSON"):
        reports_of("ab", [path])


def test_champion__artifact_folder_gone__is_named_and_refused_on_load(folder: Path):
    registry = Registry(folder.parent)
    registry.promote(folder.name, None, reason="x", at_ms=1, force=True)
    shutil.rmtree(folder)
    with pytest.raises(ArtifactRefused):
        registry.promote(folder.name, None, reason="x", at_ms=2, force=True)


def test_challenge__journalled__changes_nobody_in_charge_and_survives_a_rollback(folder: Path):
    registry, shipped = Registry(folder.parent), default_artifact()
    registry.challenge(folder.name, reason="shadow it", at_ms=1)
    assert registry.champion() == shipped
    assert registry.challenger() == folder
    registry.promote(folder.name, None, reason="go", at_ms=2, force=True)
    assert registry.challenger() is None
    assert registry.succession() == (folder, shipped)
    registry.rollback(reason="worse", at_ms=3)
    assert registry.champion() == shipped
    assert registry.challenger() == folder
    registry.challenge("", reason="enough", at_ms=4)
    assert registry.challenger() is None
    assert [step.kind for step in registry.steps()] == [
        "challenge",
        "force",
        "rollback",
        "challenge",
    ]


def test_challenge__without_a_reason_or_an_artifact__is_refused(folder: Path):
    registry = Registry(folder.parent)
    with pytest.raises(PromotionRefused, match="reason"):
        registry.challenge(folder.name, reason=" ", at_ms=1)
    with pytest.raises(ArtifactRefused):
        registry.challenge("0" * 64, reason="try", at_ms=1)
    assert registry.steps() == ()


def test_stamp__every_step__changes_it(folder: Path):
    registry = Registry(folder.parent)
    before = registry.stamp()
    registry.challenge(folder.name, reason="try", at_ms=1)
    assert registry.stamp() != before
