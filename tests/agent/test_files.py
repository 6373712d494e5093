"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agent.files import write_whole

HALF = "good \ud800 and then nothing"  # what cannot be encoded ends the writing in the middle


def test_write__ends_in_the_middle__what_was_there_stays_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_whole(file, "whole")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, HALF)
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


def test_write__ends_in_the_middle__a_new_file_is_absent(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "report.json", HALF)
    assert list(tmp_path.iterdir()) == []


def test_write__a_pipe__is_written_through_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_whole(pipe, "through")
    reader.join(timeout=60)
    assert read == ["through"]
    assert pipe.is_fifo()


def test_write__a_link__stays_one(tmp_path: Path) -> None:
    file, link = tmp_path / "kept.json", tmp_path / "link.json"
    file.write_text("before")
    link.symlink_to(file)
    write_whole(link, "after")
    assert link.is_symlink()
    assert file.read_text() == "after"
