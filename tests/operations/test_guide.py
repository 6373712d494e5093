"""Every block of the operators' guide is followed or listed, each exception with its reason."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.operations.files import program
from tests.operations.guide import table
from tests.operations.guide.__main__ import NEEDED
from tests.operations.guide.page import PAGE, ROOT, blocks

FOLLOWED_S = 3_600


def test_blocks__each_fence_of_the_page_is_one() -> None:
    assert 2 * len(blocks()) == sum(x.startswith("```") for x in PAGE.read_text().splitlines())


def test_table__each_promise_patience_and_exception_is_of_a_block() -> None:
    named = [(section, begins) for section, begins, _ in table.PROMISES]
    for section, begins in (*named, *table.PATIENT_S, *table.NOT_RUN):
        meant = [b for b in blocks() if b.section == section and b.text.startswith(begins)]
        assert meant, (section, begins)


def test_table__each_word_that_is_replaced_stands_in_the_page() -> None:
    text = PAGE.read_text()
    for each in (*table.INSTEAD, *table.IN_FILES):
        assert each.guide in text, each.guide
        assert each.why
    assert [address for address in table.ADDRESSES if address not in text] == []


@pytest.mark.long
@pytest.mark.loopback
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and users of their own need root")
def test_guide__followed_from_an_empty_server_to_the_end__does_what_it_says() -> None:
    for name in NEEDED:
        program(name)
    command = [sys.executable, "-m", "tests.operations.guide"]
    followed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=FOLLOWED_S, check=False
    )
    assert followed.returncode == 0, followed.stdout[-4_000:] + followed.stderr[-1_000:]
    done = followed.stdout.count("\nok ") + followed.stdout.startswith("ok ")
    assert done + followed.stdout.count("listed ") == len(blocks())
