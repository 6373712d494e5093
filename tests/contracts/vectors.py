"""Third-party margin vectors from beside the repository; their rows as parameters of a test.

They are read only and not ours to ship, so a test that needs them skips where they are absent, and
says so.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "margin.json"
Row = dict[str, Any]


@functools.cache
def _document() -> Row | None:
    """Read the file; None where it is absent and may be."""
    if PATH.is_file():
        document: Row = json.loads(PATH.read_text())
        return document
    return None


def _described(row: Row) -> str:
    named = [str(row[key]) for key in ("name", "market", "side", "mode") if key in row]
    return "-".join(named)[:60] or "row"


def rows(
    *path: str, only: Callable[[Row], bool] = lambda row: True
) -> Iterable[Any]:  # of pytest's parameter sets, whose type is private
    """Give the rows at a path that a rule applies to; one skipped row where there is no file."""
    document = _document()
    if document is None:
        reason = "the third-party vectors stand beside the repository, and are absent"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    found: Any = document
    for key in path:
        found = found[key]
    chosen = [row for row in ([found] if isinstance(found, dict) else found) if only(row)]
    assert chosen, f"no row of {'/'.join(path)} applies: the file has changed"
    return [pytest.param(row, id=f"{index}-{_described(row)}") for index, row in enumerate(chosen)]


def scaled(text: object, decimals: int) -> int:
    """Give a decimal string as an integer of so many decimals, exactly."""
    value = Fraction(str(text)) * 10**decimals
    assert value.denominator == 1, f"{text} has more than {decimals} decimals"
    return value.numerator


def e18(text: object) -> int:
    """Prices and sizes."""
    return scaled(text, 18)


def e6(text: object) -> int:
    """USDC."""
    return scaled(text, 6)


def ppm(text: object) -> int:
    """Ratios."""
    return scaled(text, 6)
