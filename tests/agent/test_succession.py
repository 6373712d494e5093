"""Whatever is refused in the registry leaves the last good model in charge, and says why."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.succession import chosen, first_of
from models.artifact import MODEL_LIMIT, LoadedModel, default_artifact, load, save
from models.manifest import TrainedModel
from models.registry import Registry


@pytest.fixture(scope="module")
def shipped() -> LoadedModel:
    return load(default_artifact())


@pytest.fixture(scope="module")
def rival(shipped: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped parameters under another manifest, and so another hash."""
    manifest = dataclasses.replace(shipped.manifest, seed=99)
    twin = TrainedModel(fitted=shipped.scorer._model, manifest=manifest)
    return save(twin, tmp_path_factory.mktemp("registry"))


@pytest.fixture
def promoted(rival: Path, tmp_path: Path) -> Path:
    """The rival's folder in a registry where it is champion and challenger."""
    folder = tmp_path / rival.name
    shutil.copytree(rival, folder)
    Registry(tmp_path).promote(rival.name, None, reason="ordered", at_ms=1, force=True)
    return folder


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def tamper(folder: Path) -> None:
    path = folder / "model.skops"
    path.write_bytes(path.read_bytes() + b"\x00")


def lie(folder: Path) -> None:
    changed(folder, lambda document: document["manifest"].update(trained_before="2030-01-01"))


def rename_pickle(folder: Path) -> None:
    content = pickle.dumps({"head0": 1})
    (folder / "model.skops").write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    changed(folder, lambda document: document["files"].update({"model.skops": entry}))


def age_features(folder: Path) -> None:
    changed(folder, lambda document: document["manifest"].update(feature_version=0))


def age_library(folder: Path) -> None:
    versions = {"scikit-learn": "1.2.3"}
    changed(folder, lambda document: document["manifest"]["library_versions"].update(versions))


def inflate(folder: Path) -> None:
    with (folder / "model.skops").open("r+b") as file:
        file.truncate(MODEL_LIMIT + 1)


def lose(folder: Path) -> None:
    shutil.rmtree(folder)


FAULTS = [
    (tamper, "TamperedFile", "is not the file that its manifest lists"),
    (lie, "ManifestMismatch", "hashes to"),
    (rename_pickle, "NotAnArtifact", "a pickle is never opened"),
    (age_features, "FeatureVersionMismatch", "reads features of version 0"),
    (age_library, "LibraryVersionMismatch", "was trained with scikit-learn 1.2.3"),
    (inflate, "TooLarge", "no artifact of ours has more than"),
    (lose, "NotAnArtifact", "does not exist"),
]


@pytest.mark.parametrize(("damage", "kind", "words"), FAULTS)
def test_chosen__champion_that_is_refused__leaves_the_last_good_one_and_says_why(
    shipped: LoadedModel,
    promoted: Path,
    damage: Callable[[Path], None],
    kind: str,
    words: str,
) -> None:
    damage(promoted)
    found = chosen(Registry(promoted.parent), shipped)
    assert found.champion is shipped
    (notice,) = found.notices
    assert f"stays in charge: {kind}: " in notice
    assert words in notice


@pytest.mark.parametrize(("damage", "kind", "words"), FAULTS)
def test_first_of__champion_that_is_refused__starts_with_the_one_before_it(
    shipped: LoadedModel,
    promoted: Path,
    damage: Callable[[Path], None],
    kind: str,
    words: str,
) -> None:
    damage(promoted)
    model, notices = first_of(Registry(promoted.parent))
    assert model.model_hash == shipped.model_hash
    assert notices[0].startswith(f"{kind}: ")
    assert words in notices[0]


def test_chosen__broken_journal_of_promotions__leaves_the_last_good_one(
    shipped: LoadedModel, promoted: Path
) -> None:
    journal = promoted.parent / "promotions.jsonl"
    journal.write_text(journal.read_text().replace("ordered", "0rdered") + "{}\n")
    found = chosen(Registry(promoted.parent), shipped)
    assert found.champion is shipped
    assert "BrokenJournal" in found.notices[0]


def test_chosen__whole_champion__is_in_charge(shipped: LoadedModel, promoted: Path) -> None:
    found = chosen(Registry(promoted.parent), shipped)
    assert found.champion.model_hash.hex() == promoted.name
    assert found.notices == (f"model {promoted.name[:12]} is in charge now",)
