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

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artifact says about itself; all of it is covered by the model hash."""

    feature_version: int
    library_versions: Mapping[str, str]
    trained_from: str
    trained_before: str
    seed: int
    data_files: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A checked artifact, ready to score."""

    model_hash: bytes
    manifest: Manifest
    scorer: Scorer


def load(folder: Path, expected_hash: bytes | None = None) -> LoadedModel:
    """Check an artifact's size, file table and manifest, open it, and check its content.

    Raises
    ------
    ArtifactRefused
        With the class that says what is wrong.
    """
    raise NotImplementedError


def default_artifact() -> Path:
    """Return the folder of the artifact that ships with the package."""
    raise NotImplementedError
