"""What an artifact says about itself, and the hash that makes it keep its word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import sklearn
import skops
from numpy.typing import NDArray

from models.features import FEATURE_VERSION
from models.heads import FittedModel

FORMAT = "aml-model-1"
Arrays = Mapping[str, NDArray[np.generic]]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Origin of a trained model; all of it is covered by the model hash.

    Attributes
    ----------
    feature_version : int
        Version of the features that the model reads.
    library_versions : mapping of str to str
        numpy, scikit-learn and skops at training.
    trained_from, trained_before : str
        First instant learned from, and the instant that no bar reached, ISO 8601.
    seed : int
        Seed of the training.
    data_files : mapping of str to str
        SHA-256 of each candle file, and its name.
    symbols : tuple of str
        Markets learned from.
    metrics : mapping of str to float
        QLIKE of each head on forecasts of later folds, counts of rows, and what the recipe did
        where it was judged (`models.walked`).
    """

    feature_version: int = FEATURE_VERSION
    library_versions: Mapping[str, str]
    trained_from: str
    trained_before: str
    seed: int
    data_files: Mapping[str, str]
    symbols: tuple[str, ...]
    metrics: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the manifest as JSON values."""
        return asdict(self) | {"symbols": list(self.symbols)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedModel:
    """A fitted model and what it says about itself."""

    fitted: FittedModel
    manifest: Manifest


def manifest_from(content: Json) -> Manifest:
    """Read a manifest back; unknown or missing fields are a TypeError, wrong kinds a ValueError."""
    manifest = Manifest(**{**content, "symbols": tuple(content["symbols"])})
    kinds = {"feature_version": int, "seed": int, "trained_from": str, "trained_before": str}
    kinds |= {"library_versions": dict, "data_files": dict, "metrics": dict}
    for field in fields(manifest):
        kind = kinds.get(field.name, tuple)
        if type(getattr(manifest, field.name)) is not kind:
            raise ValueError(f"{field.name} must be {kind.__name__}")
    return manifest


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a model depends on."""
    return {
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "skops": skops.__version__,
    }


def canonical_json(content: Json) -> bytes:
    """Encode JSON in one way only: sorted keys, no spaces, shortest floats, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def model_hash(manifest: Manifest, layout: Json, arrays: Arrays) -> bytes:
    """Hash the canonical form: manifest and layout, then arrays by name, little-endian.

    Files are not content: skops writes times and addresses into them.
    """
    digest = hashlib.sha256(FORMAT.encode())
    _add(digest, canonical_json({"manifest": manifest.as_json(), "layout": layout}))
    for name in sorted(arrays):
        array = arrays[name]
        kind = "<f8" if array.dtype.kind == "f" else "<i8"
        header = {"name": name, "shape": list(array.shape), "type": kind}
        _add(digest, canonical_json(header))
        _add(digest, np.ascontiguousarray(array).astype(kind).tobytes())
    return digest.digest()


def _add(digest: hashlib._Hash, part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)
