"""A trained model as a folder that is named by its content: write it, check it, refuse it.

Exceptions (all mean: keep the last good model)::

    ArtifactRefused
    ├── NotAnArtifact            the folder or a file of it is missing or is no artifact
    ├── TooLarge                 a file is larger than any model of ours
    ├── TamperedFile             a file's bytes are not those of the file table
    ├── ManifestMismatch         manifest, content and name of the folder disagree
    ├── FeatureVersionMismatch   trained for other features than this code computes
    └── LibraryVersionMismatch   trained with another minor version of a library
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sklearn
import skops.io as sio

from models.card import card_text
from models.content import ContentError, put_together, same_kind, taken_apart
from models.drift import Reference
from models.features import FEATURE_VERSION
from models.manifest import Arrays, Manifest, TrainedModel, manifest_from, model_hash
from models.risk_heads import RiskHeads
from models.scorer import Scorer


class ArtifactRefused(Exception):  # noqa: N818 - a refusal is what it is called everywhere
    """An artifact may not be used; the message says why and what to do."""


class NotAnArtifact(ArtifactRefused):
    """The folder or one of its files is missing or is no artifact."""


class TooLarge(ArtifactRefused):
    """A file is larger than any model of ours."""


class TamperedFile(ArtifactRefused):
    """A file's bytes are not those of the file table."""


class ManifestMismatch(ArtifactRefused):
    """Manifest, content and name of the folder disagree."""


class FeatureVersionMismatch(ArtifactRefused):
    """The model was trained for other features than this code computes."""


class LibraryVersionMismatch(ArtifactRefused):
    """The model was trained with another minor version of a library."""


MANIFEST_FILE, MODEL_FILE, CARD_FILE = "manifest.json", "model.skops", "card.md"
MANIFEST_LIMIT = 1_000_000
MODEL_LIMIT = 16_000_000
"""Bytes; the shipped model has under one million."""
UNPACKED_LIMIT = 64_000_000
TRUSTED: list[str] = []
"""Types beyond skops' own that a model file may hold: none, it is a dictionary of arrays."""
SCRATCH = ".writing-"
"""What a folder begins with whose artifact has not been written to its end."""
SHIPPED = Path(__file__).parent / "artifacts"

__all__ = [
    "ArtifactRefused",
    "FeatureVersionMismatch",
    "LibraryVersionMismatch",
    "LoadedModel",
    "Manifest",
    "ManifestMismatch",
    "NotAnArtifact",
    "TamperedFile",
    "TooLarge",
    "default_artifact",
    "load",
    "save",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A checked artifact, ready to score."""

    model_hash: bytes
    manifest: Manifest
    scorer: Scorer
    risks: RiskHeads | None
    reference: Reference | None = None


def save(model: TrainedModel, parent: Path) -> Path:
    """Write an artifact into `parent`, in a folder named by its hash; return the folder.

    An artifact that is already there is written again with the same content.
    """
    layout, arrays = taken_apart(model.fitted)
    name = model_hash(model.manifest, layout, arrays).hex()
    folder = parent / name
    content = sio.dumps(arrays, compression=zipfile.ZIP_DEFLATED, compresslevel=9)
    card = card_text(name, model.manifest, model.fitted).encode()
    files = {MODEL_FILE: content, CARD_FILE: card}
    table = {file: _entry(data) for file, data in files.items()}
    document = {"manifest": model.manifest.as_json(), "layout": layout, "files": table}
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    files[MANIFEST_FILE] = (text + "\n").encode()
    parent.mkdir(parents=True, exist_ok=True)
    # whole or not at all: an interrupted write must not stand where a good artifact is looked for
    with TemporaryDirectory(prefix=SCRATCH, dir=parent) as scratch:
        fresh = Path(scratch) / name
        fresh.mkdir()
        for file, data in files.items():
            (fresh / file).write_bytes(data)
        if folder.exists():
            folder.rename(Path(scratch) / "before")
        fresh.rename(folder)
    return folder


def load(folder: Path, expected_hash: bytes | None = None) -> LoadedModel:
    """Check an artifact's size, file table and manifest, open it, and check its content.

    Parameters
    ----------
    folder : Path
        The artifact; its name is its model hash in hex.
    expected_hash : bytes, optional
        The model hash that configuration or a decision asks for.

    Raises
    ------
    ArtifactRefused
        With the class that says what is wrong.
    """
    document = _document(folder)
    manifest = _checked_manifest(folder, document)
    content = _checked_files(folder, document["files"])
    arrays = _opened(folder, content)
    found = model_hash(manifest, document["layout"], arrays)
    if found.hex() != folder.name:
        raise ManifestMismatch(
            f"{folder.name}: its content hashes to {found.hex()}; "
            "manifest, model or the folder's name was changed: fetch the artifact again"
        )
    if expected_hash is not None and found != expected_hash:
        raise ManifestMismatch(
            f"{folder.name} is not the model {expected_hash.hex()} that was asked for: "
            "correct the configured hash or fetch that artifact"
        )
    try:
        fitted = put_together(document["layout"], arrays)
    except ContentError as fault:
        raise NotAnArtifact(f"{folder.name}: {fault}; train it again") from fault
    return LoadedModel(
        model_hash=found,
        manifest=manifest,
        scorer=Scorer(fitted),
        risks=fitted.risks,
        reference=fitted.reference,
    )


def default_artifact() -> Path:
    """Return the folder of the artifact that ships with the package."""
    folders = sorted(path for path in SHIPPED.iterdir() if (path / MANIFEST_FILE).is_file())
    if len(folders) != 1:
        raise NotAnArtifact(
            f"{SHIPPED} must hold exactly one artifact, not {len(folders)}: reinstall the package"
        )
    return folders[0]


def _entry(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _document(folder: Path) -> dict[str, Any]:
    """Read the manifest file as JSON of the expected shape."""
    data = _read(folder / MANIFEST_FILE, MANIFEST_LIMIT)
    try:
        document = json.loads(data)
    except ValueError as fault:
        raise NotAnArtifact(f"{folder / MANIFEST_FILE} is not JSON: {fault}") from fault
    if not isinstance(document, dict) or set(document) != {"manifest", "layout", "files"}:
        raise NotAnArtifact(f"{folder / MANIFEST_FILE} must hold manifest, layout and files")
    if not all(isinstance(part, dict) for part in document.values()):
        raise NotAnArtifact(f"{folder / MANIFEST_FILE}: manifest, layout and files are objects")
    return document


def _checked_manifest(folder: Path, document: dict[str, Any]) -> Manifest:
    """Read the manifest and compare its versions with this installation's."""
    try:
        manifest = manifest_from(document["manifest"])
    except (KeyError, TypeError, ValueError) as fault:
        raise NotAnArtifact(f"{folder / MANIFEST_FILE}: {fault}") from fault
    if manifest.feature_version != FEATURE_VERSION:
        raise FeatureVersionMismatch(
            f"{folder.name} reads features of version {manifest.feature_version}, this code "
            f"computes version {FEATURE_VERSION}: train it again with `aml models train`"
        )
    trained, here = manifest.library_versions.get("scikit-learn", "none"), sklearn.__version__
    if trained.split(".")[:2] != here.split(".")[:2]:
        raise LibraryVersionMismatch(
            f"{folder.name} was trained with scikit-learn {trained}, installed is {here}: "
            "install that version or train it again with `aml models train`"
        )
    return manifest


def _checked_files(folder: Path, table: dict[str, Any]) -> bytes:
    """Compare every file with the file table; return the bytes of the model, still closed."""
    if set(table) != {MODEL_FILE, CARD_FILE}:
        raise NotAnArtifact(f"{folder.name}: its file table must name {MODEL_FILE}, {CARD_FILE}")
    contents = {}
    for name, entry in sorted(table.items()):
        contents[name] = _read(folder / name, MODEL_LIMIT)
        if entry != _entry(contents[name]):
            raise TamperedFile(
                f"{folder / name} is not the file that its manifest lists: "
                "it was changed or damaged, fetch the artifact again"
            )
    return contents[MODEL_FILE]


def _read(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise NotAnArtifact(f"{path} does not exist: name the folder of an artifact")
    size = path.stat().st_size
    if size > limit:
        raise TooLarge(f"{path} has {size} bytes, no artifact of ours has more than {limit}")
    return path.read_bytes()


def _opened(folder: Path, content: bytes) -> Arrays:
    """Deserialise arrays and nothing else, after a look at what the archive would unpack."""
    _check_archive(folder, content)
    try:
        unknown = sio.get_untrusted_types(data=content)
        if unknown:
            raise NotAnArtifact(f"{folder.name} holds {', '.join(unknown)}: only arrays are opened")
        arrays = sio.loads(content, trusted=TRUSTED)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise NotAnArtifact(f"{folder / MODEL_FILE} cannot be opened: {fault}") from fault
    if type(arrays) is not dict or not same_kind(arrays):
        raise NotAnArtifact(f"{folder / MODEL_FILE} must hold named arrays and nothing else")
    return arrays


def _check_archive(folder: Path, content: bytes) -> None:
    """Refuse what is no archive, unpacks to too much, or holds more than a schema and arrays."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as fault:
        raise NotAnArtifact(
            f"{folder / MODEL_FILE} is no skops archive (a pickle is never opened)"
        ) from fault
    if sum(member.file_size for member in members) > UNPACKED_LIMIT:
        raise TooLarge(f"{folder / MODEL_FILE} unpacks to more than {UNPACKED_LIMIT} bytes")
    for member in members:
        if member.filename != "schema.json" and not member.filename.endswith(".npy"):
            raise NotAnArtifact(f"{folder / MODEL_FILE} holds {member.filename}, not only arrays")
