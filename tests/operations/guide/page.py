"""The blocks of the operators' guide, each under the heading that it stands under."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "operators-guide.md"
_PART = re.compile(
    r"^## (?P<title>[^\n]+)$|^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block: the heading, which of its blocks it is from 1, and what kind (none: shell)."""

    section: str
    number: int
    kind: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, to name it by."""
        return self.text.splitlines()[0]

    @property
    def name(self) -> str:
        """Heading and number."""
        return f"{self.section}, block {self.number}"


def blocks(page: str | None = None) -> list[Block]:
    """Give every block in order."""
    found: list[Block] = []
    section, number = "", 0
    for part in _PART.finditer(PAGE.read_text() if page is None else page):
        if part["title"] is not None:
            section, number = part["title"], 0
            continue
        number += 1
        found.append(Block(section=section, number=number, kind=part["kind"], text=part["text"]))
    return found
