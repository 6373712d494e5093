"""docs/reference is what the code says of itself."""

from __future__ import annotations

import pytest

from tests.operations import reference

QUICK = {"http": reference.http, "metrics": reference.metrics}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_reference__page_is_what_the_code_says(name: str) -> None:
    written = (reference.FOLDER / f"{name}.md").read_text()
    assert written == QUICK[name](), "run: python -m tests.operations.reference"


def test_reference__contracts_and_their_mirror_are_what_the_code_says() -> None:
    for name, made in {
        "contracts": reference.contracts(),
        "python": reference.python("contracts"),
    }.items():
        written = (reference.FOLDER / f"{name}.md").read_text()
        assert written == made, "run: python -m tests.operations.reference"
