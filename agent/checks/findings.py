"""What a check finds: one sentence, how grave it is, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How grave a finding is."""

    WELL = "well"
    WARNING = "warning"  # it runs, and somebody should know
    FAULT = "fault"  # it does not run, or not as the file says
    SKIPPED = "skipped"  # could not be looked at because of another fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    part: str
    grade: Grade
    says: str
    mend: str = ""


def well(part: str, says: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(part=part, grade=Grade.WELL, says=says)


def warning(part: str, says: str, mend: str = "") -> Finding:
    """Say what somebody should know."""
    return Finding(part=part, grade=Grade.WARNING, says=says, mend=mend)


def fault(part: str, says: str, mend: str) -> Finding:
    """Say what is wrong, and what mends it."""
    return Finding(part=part, grade=Grade.FAULT, says=says, mend=mend)


def skipped(part: str, says: str) -> Finding:
    """Say what could not be looked at."""
    return Finding(part=part, grade=Grade.SKIPPED, says=says)


def is_well(findings: Sequence[Finding]) -> bool:
    """Tell whether nothing is wrong; a warning is not."""
    return all(each.grade in {Grade.WELL, Grade.WARNING} for each in findings)
