"""Evidence by hash: what a decision was made from, kept so that anyone can recompute it.

A bundle is `{"digests": {name: sha256}, "fields": {name: value}}` in canonical JSON. Its hash is
the sha256 of the canonical JSON of `digests`, so one changed byte names the field that it is in.
Closed history enters by the hashes of its immutable segments, kept once as blobs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from relayer.errors import BadAnswer, EvidenceDamaged, EvidenceMissing, StorageFailed

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


_CONTAINERS = (dict, list, tuple)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
BUNDLES, QUOTES = "bundles", "quotes"
_REMEMBERED = 500_000  # names of stored blobs kept in memory: a month of 200 markets


def canonical_json(value: Json) -> bytes:
    """Encode a value in the one way that every process encodes it.

    Keys sorted, no spaces, ASCII, integers exact, floats in Python's shortest form that reads back
    the same. NaN and infinities (`ValueError`), keys that are not text and foreign types
    (`TypeError`) are refused, because they would come back changed or not at all.
    """
    _require_text_keys(value)
    return _ENCODER.encode(value).encode("ascii")


def _require_text_keys(value: Json) -> None:
    """Walk the containers only: most of a bundle is leaves, and the walk is on the price path."""
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"not to be written as canonical JSON: key {key!r}")
            if type(item) in _CONTAINERS:
                _require_text_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if type(item) in _CONTAINERS:
                _require_text_keys(item)


def pack(fields: Mapping[str, Json]) -> tuple[bytes, bytes]:
    """Build a bundle; return its hash and its bytes."""
    encoded = {name: canonical_json(value) for name, value in fields.items()}
    digests = {name: hashlib.sha256(item).hexdigest() for name, item in encoded.items()}
    # Each field is encoded once: the bundle is put together from the encodings that were hashed.
    body = b",".join(canonical_json(name) + b":" + encoded[name] for name in sorted(encoded))
    bundle = b'{"digests":' + canonical_json(digests) + b',"fields":{' + body + b"}}"
    return evidence_hash(digests), bundle


def evidence_hash(digests: Mapping[str, Json]) -> bytes:
    """Return the 32 bytes that the signed message carries."""
    return hashlib.sha256(canonical_json(digests)).digest()


def unpack(bundle: bytes) -> dict[str, Any]:
    """Return the fields of a bundle, unchecked; `check` says whether they are the signed ones."""
    fields: dict[str, Any] = _parts(bundle)[1]
    return fields


def check(bundle: bytes, expected: bytes) -> tuple[str, ...]:
    """Name each field whose digest differs from the hash's; nothing named means nothing changed.

    A name in parentheses is about the bundle as a whole: `(json) …` with the place where reading
    stopped, `(digests)` when the table of digests is not the expected one, `(form)` when a byte
    outside of any value differs.
    """
    try:
        digests, fields = _parts(bundle)
    except BadAnswer as exc:
        return (f"(json) {exc}",)
    names = sorted(digests.keys() | fields.keys())
    differing = [name for name in names if _digest(fields, name) != digests.get(name)]
    if evidence_hash(digests) != expected:
        differing.append("(digests)")
    if not differing and pack(fields)[1] != bundle:
        differing.append("(form)")
    return tuple(differing)


def _digest(fields: Mapping[str, Json], name: str) -> str | None:
    if name not in fields:
        return ""
    try:
        return hashlib.sha256(canonical_json(fields[name])).hexdigest()
    except ValueError:  # NaN, which the reader lets pass and the writer never wrote
        return ""


def _parts(bundle: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        parsed = json.loads(bundle.decode("ascii"))
    except UnicodeDecodeError as exc:
        raise BadAnswer(f"byte {exc.start}: not ASCII") from exc
    except json.JSONDecodeError as exc:
        raise BadAnswer(f"byte {exc.pos}: {exc.msg}") from exc
    if not isinstance(parsed, dict) or set(parsed) != {"digests", "fields"}:
        raise BadAnswer('byte 0: not {"digests": ..., "fields": ...}')
    if not all(isinstance(part, dict) for part in parsed.values()):
        raise BadAnswer('byte 0: "digests" and "fields" are not both tables')
    return parsed["digests"], parsed["fields"]


class EvidenceStore:
    """A folder of bundles and blobs, each under its hash; what is there is never rewritten.

    Bundles of quotes are many and outlive their use, so they lie apart, where they are pruned.
    """

    def __init__(self, folder: Path, bundles: str = BUNDLES) -> None:
        self._folder = folder
        self._bundles = bundles
        self._stored: set[bytes] = set()

    async def keep(
        self, digest: bytes, bundle: bytes, blobs: Mapping[bytes, bytes | memoryview]
    ) -> None:
        """Store a packed bundle and the blobs that it names, off the event loop.

        It is all on disk when this returns. `blobs` are by their sha256; one that was stored
        before is not written again.
        """
        await asyncio.to_thread(self._keep, digest, bundle, blobs)

    def _keep(
        self, digest: bytes, bundle: bytes, blobs: Mapping[bytes, bytes | memoryview]
    ) -> None:
        if len(self._stored) > _REMEMBERED:
            self._stored.clear()
        for name in blobs.keys() - self._stored:
            self._write(self.blob_path(name), blobs[name])
            self._stored.add(name)
        self._write(self.bundle_path(digest), bundle)

    def put(self, fields: Mapping[str, Json]) -> bytes:
        """Store a bundle and return its hash."""
        digest, bundle = pack(fields)
        self._write(self.bundle_path(digest), bundle)
        return digest

    def get(self, digest: bytes) -> dict[str, Any]:
        """Return the fields of the bundle with that hash, every byte of them checked."""
        bundle = self.get_bundle(digest)
        if differing := check(bundle, digest):
            raise EvidenceDamaged(f"evidence {digest.hex()}: differs in {', '.join(differing)}")
        return unpack(bundle)

    def get_bundle(self, digest: bytes) -> bytes:
        """Return the stored bytes under a bundle's hash, unchecked."""
        places = (self._bundles, *(each for each in (BUNDLES, QUOTES) if each != self._bundles))
        paths = [self._place(each, digest) for each in places]
        return self._read(next((path for path in paths if path.exists()), paths[0]))

    def prune(self, before_s: float) -> int:
        """Delete the bundles of quotes that were written before a time of the disk's clock."""
        old = [
            path for path in (self._folder / QUOTES).glob("*/*.json") if _written(path) < before_s
        ]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def put_blob(self, content: bytes) -> bytes:
        """Store bytes and return their sha256."""
        digest = hashlib.sha256(content).digest()
        self._write(self.blob_path(digest), content)
        return digest

    def get_blob(self, digest: bytes) -> bytes:
        """Return the bytes with that sha256, checked."""
        content = self._read(self.blob_path(digest))
        if hashlib.sha256(content).digest() != digest:
            raise EvidenceDamaged(f"blob {digest.hex()}: its bytes have another hash")
        return content

    def bundle_path(self, digest: bytes) -> Path:
        """Return where the bundle of that hash lies."""
        return self._place(self._bundles, digest)

    def _place(self, kind: str, digest: bytes) -> Path:
        return self._folder / kind / digest.hex()[:2] / f"{digest.hex()}.json"

    def blob_path(self, digest: bytes) -> Path:
        """Return where the blob of that hash lies."""
        return self._folder / "blobs" / digest.hex()[:2] / digest.hex()

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise EvidenceMissing(
                f"no evidence {path.stem} in {self._folder}: never kept here, or past its retention"
            ) from None

    def _write(self, path: Path, content: bytes | memoryview) -> None:
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, content)
        except OSError as exc:
            raise StorageFailed(f"evidence not written: {exc}") from exc


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process pruned it
        return math.inf


def _replace(path: Path, content: bytes | memoryview) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The rename itself is on disk only once the folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
