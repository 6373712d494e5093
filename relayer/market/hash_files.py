"""Files named by their own sha256, so that damage shows, and the same content is stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from relayer.errors import EvidenceDamaged, EvidenceMissing, StorageFailed


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Say StorageFailed of what the disk refuses inside: full, read-only, away."""
    try:
        yield
    except OSError as refused:
        raise StorageFailed(f"{what}: {refused}") from refused


class HashFiles:
    """One folder of such files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with storing("the history's folder"):
            self._folder.mkdir(parents=True, exist_ok=True)

    @storing("a history segment")
    def write(self, content: bytes) -> str:
        """Store a content whole or not at all; give its name."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        path.parent.mkdir(exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_bytes(content)
        draft.replace(path)  # also over a damaged file of that name
        return digest

    @storing("a history segment")
    def read(self, sha256: str) -> bytes:
        """Read a content and check it against its name."""
        path = self._path(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise EvidenceMissing(f"segment {sha256} is not in {self._folder}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise EvidenceDamaged(f"segment {sha256} in {self._folder} has other bytes")
        return content

    @storing("a history segment")
    def size(self, sha256: str) -> int | None:
        """Give a file's size in bytes; None when it is missing."""
        path = self._path(sha256)
        return path.stat().st_size if path.exists() else None

    @storing("a history segment")
    def keep_only(self, named: Collection[str]) -> None:
        """Remove every other file."""
        for path in self._folder.glob("*/*"):
            if path.stem not in named:
                path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        """Give a content's place."""
        return self._folder / sha256[:2] / f"{sha256}.arrow"
