"""Artifacts: what was saved loads and scores alike; whatever was changed is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io as sio
from sklearn.linear_model import Ridge

from models.artifact import (
    MODEL_LIMIT,
    ArtifactRefused,
    FeatureVersionMismatch,
    LibraryVersionMismatch,
    ManifestMismatch,
    NotAnArtifact,
    TamperedFile,
    TooLarge,
    default_artifact,
    load,
    save,
)
from models.features import FEATURE_VERSION, FeatureVector, feature_vector
from models.heads import HORIZONS_S
from models.manifest import TrainedModel
from models.scorer import Scorer
from tests.models.fakes import window


@pytest.fixture
def folder(trained: TrainedModel, tmp_path: Path) -> Path:
    return save(trained, tmp_path / "artifacts")


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def replace_model(folder: Path, content: bytes) -> None:
    """Put other bytes in the model's place, and let the file table say so."""
    (folder / "model.skops").write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    edit_manifest(folder, lambda document: document["files"].update({"model.skops": entry}))


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    return sio.loads((folder / "model.skops").read_bytes(), trusted=[])


def test_load__what_was_saved__scores_alike(folder: Path, trained: TrainedModel):
    vector = feature_vector(window(market=1))
    assert isinstance(vector, FeatureVector)
    loaded = load(folder)
    assert loaded.scorer.score((vector,)) == Scorer(trained.fitted).score((vector,))
    assert loaded.manifest == trained.manifest
    assert loaded.model_hash.hex() == folder.name


def test_load__expected_hash__is_accepted(folder: Path):
    assert load(folder, bytes.fromhex(folder.name)).model_hash == bytes.fromhex(folder.name)


def test_load__another_expected_hash__is_refused(folder: Path):
    with pytest.raises(ManifestMismatch, match="asked for"):
        load(folder, bytes(32))


def test_save__twice__is_the_same_folder_though_bytes_of_skops_differ(
    folder: Path, trained: TrainedModel
):
    assert save(trained, folder.parent) == folder
    assert load(folder).model_hash.hex() == folder.name


def test_save__over_a_damaged_folder__mends_it_and_leaves_nothing_else(
    folder: Path, trained: TrainedModel
):
    (folder / "card.md").write_text("damaged")
    (folder / "stray").write_text("left over")
    assert save(trained, folder.parent) == folder
    assert load(folder).model_hash.hex() == folder.name
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.md",
        "manifest.json",
        "model.skops",
    ]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", ["model.skops", "card.md"])
def test_load__one_byte_changed__is_tampered(folder: Path, name: str):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(TamperedFile, match=name):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["manifest"].update(seed=1),
        lambda document: document["manifest"].update(trained_before="2030-01-01"),
        lambda document: document["manifest"]["metrics"].update(fold_qlike_86400_hours=0.01),
        lambda document: document["manifest"]["data_files"].clear(),
        lambda document: document["layout"]["heads"][0].update(horizon_s=901),
        lambda document: document["layout"]["heads"].reverse(),
    ],
)
def test_load__manifest_that_lies__is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None]
):
    edit_manifest(folder, change)
    with pytest.raises(ManifestMismatch, match="hashes to"):
        load(folder)


def test_load__folder_of_another_name__is_refused(folder: Path):
    with pytest.raises(ManifestMismatch, match="hashes to"):
        load(folder.rename(folder.parent / ("0" * 64)))


def test_load__one_number_changed_and_the_table_with_it__is_refused(folder: Path):
    arrays = arrays_of(folder)
    arrays["head0/long/quantiles"] = arrays["head0/long/quantiles"] / 2.0
    replace_model(folder, sio.dumps(arrays))
    with pytest.raises(ManifestMismatch, match="hashes to"):
        load(folder)


def test_load__pickle_renamed__is_never_opened(folder: Path):
    class Loud:
        def __reduce__(self):
            return pytest.fail, ("the pickle was opened",)

    replace_model(folder, pickle.dumps(Loud()))
    with pytest.raises(NotAnArtifact, match="pickle"):
        load(folder)


def test_load__archive_with_more_than_arrays__is_refused(folder: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("payload.pkl", b"x")
    replace_model(folder, buffer.getvalue())
    with pytest.raises(NotAnArtifact, match=r"payload\.pkl"):
        load(folder)


def test_load__broken_schema__is_refused(folder: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
    replace_model(folder, buffer.getvalue())
    with pytest.raises(NotAnArtifact):
        load(folder)


def test_load__estimator_instead_of_arrays__is_refused(folder: Path):
    replace_model(folder, sio.dumps(Ridge()))
    with pytest.raises(NotAnArtifact):
        load(folder)


def test_load__archive_that_unpacks_to_too_much__is_refused(folder: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 65_000_000)
    replace_model(folder, buffer.getvalue())
    with pytest.raises(TooLarge, match="unpacks"):
        load(folder)


def test_load__file_over_the_limit__is_not_read(folder: Path):
    with (folder / "model.skops").open("r+b") as file:
        file.truncate(MODEL_LIMIT + 1)
    with pytest.raises(TooLarge, match="no artifact of ours"):
        load(folder)


def test_load__features_of_another_version__say_to_train_again(folder: Path):
    edit_manifest(
        folder, lambda document: document["manifest"].update(feature_version=FEATURE_VERSION + 1)
    )
    with pytest.raises(FeatureVersionMismatch, match="aml models train"):
        load(folder)


def test_load__another_scikit_learn__says_which(folder: Path):
    versions = {"scikit-learn": "1.2.3"}
    edit_manifest(
        folder, lambda document: document["manifest"]["library_versions"].update(versions)
    )
    with pytest.raises(LibraryVersionMismatch, match=r"1\.2\.3"):
        load(folder)


@pytest.mark.parametrize("name", ["manifest.json", "model.skops", "card.md"])
def test_load__file_missing__is_no_artifact(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(NotAnArtifact, match=name):
        load(folder)


def test_load__no_folder__is_no_artifact(tmp_path: Path):
    with pytest.raises(NotAnArtifact, match="does not exist"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifest":1,"layout":{},"files":{}}'])
def test_load__manifest_of_another_shape__is_no_artifact(folder: Path, text: str):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(NotAnArtifact):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["manifest"].pop("seed"),
        lambda document: document["manifest"].update(seed="0"),
        lambda document: document["manifest"].update(extra=1),
        lambda document: document["files"].update({"../x": {}}),
        lambda document: document["files"].clear(),
    ],
)
def test_load__manifest_with_other_fields__is_no_artifact(
    folder: Path, change: Callable[[dict[str, Any]], None]
):
    edit_manifest(folder, change)
    with pytest.raises(NotAnArtifact):
        load(folder)


def test_refusals__are_one_tree():
    refusals = {
        FeatureVersionMismatch,
        LibraryVersionMismatch,
        ManifestMismatch,
        NotAnArtifact,
        TamperedFile,
        TooLarge,
    }
    assert refusals == set(ArtifactRefused.__subclasses__())


def test_default_artifact__loads_and_saw_nothing_after_june_2023():
    loaded = load(default_artifact())
    assert loaded.manifest.trained_before == "2023-07-01T00:00:00+00:00"
    assert "walked_24h_qlike" in loaded.manifest.metrics
    assert loaded.risks is not None
    assert loaded.risks.isolated.horizons_s == HORIZONS_S
    assert sum(file.stat().st_size for file in default_artifact().iterdir()) < 2_000_000


def test_load__copied_elsewhere__is_the_same_model(tmp_path: Path):
    copy = tmp_path / default_artifact().name
    shutil.copytree(default_artifact(), copy)
    assert load(copy).model_hash == load(default_artifact()).model_hash
