"""Facts about a volume that is really full: nothing half written, nothing signed, well again after.

A tmpfs of one megabyte is mounted for it, which only root may do.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import pytest

from relayer import migrations
from relayer.errors import StorageFailed
from relayer.evidence import EvidenceStore, pack
from relayer.signing.memory import SignedRounds
from relayer.signing.values import Proposal, Refusal, RefusalReason, SignerAnswer
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer.signing.test_signer import signer

SIZE = "1m"


@dataclass
class Volume:
    """A small volume of its own; its ballast takes what is free."""

    folder: Path

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        full = pytest.raises(OSError, match=os.strerror(errno.ENOSPC))
        with self.ballast.open("ab", buffering=0) as file, full:
            write_without_end(file)

    def free(self) -> None:
        self.ballast.unlink()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    mount, folder = shutil.which("mount"), tmp_path / "volume"
    folder.mkdir()
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False) if mount else None
    if done is None or done.returncode:
        pytest.skip("no volume may be mounted here: this needs root")
    yield Volume(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_signer__volume_full__signs_nothing_and_signs_again_once_there_is_room(
    volume: Volume,
) -> None:
    url = f"sqlite:///{volume.folder / 'aml.db'}"
    migrations.upgrade(url)
    database = Database.open(url)
    one = signer(database)
    assert isinstance(await one.sign(proposal(10)), SignerAnswer)
    volume.fill()
    answers = {n: await one.sign(proposal(n)) for n in range(11, 60)}
    refused = [each for each in answers.values() if isinstance(each, Refusal)]
    assert refused
    assert {each.reason for each in refused} == {RefusalReason.NO_MEMORY}
    assert "full" in refused[-1].detail
    volume.free()
    assert isinstance(await one.sign(proposal(60)), SignerAnswer)
    signed = {n for n, each in answers.items() if isinstance(each, SignerAnswer)}
    kept = await SignedRounds(database).signed_above(b.CHAIN_ID, b.PRICE_FEED, 0)
    assert kept == {10, 60} | signed
    await database.close()


async def test_evidence__volume_full__leaves_nothing_half_written_and_is_kept_once_there_is_room(
    volume: Volume,
) -> None:
    store, (digest, bundle) = EvidenceStore(volume.folder / "evidence"), pack({"rows": "x" * 9_000})
    blob = bytes(range(256)) * 64
    blobs = {hashlib.sha256(blob).digest(): blob}
    volume.fill()
    with pytest.raises(StorageFailed, match="No space left"):
        await store.keep(digest, bundle, blobs)
    assert [each for each in volume.folder.rglob("*") if each.is_file()] == [volume.ballast]
    volume.free()
    await store.keep(digest, bundle, blobs)
    assert store.get(digest) == {"rows": "x" * 9_000}
    assert store.get_blob(next(iter(blobs))) == blob


def proposal(round_: int) -> Proposal:
    return b.price_proposal(b.price_round(round_=round_))


def write_without_end(file: FileIO) -> None:
    while True:
        file.write(bytes(4_096))
