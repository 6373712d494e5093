"""The audit's three ends: sound, vulnerable, and not audited, which is never taken for sound."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SPEC = importlib.util.spec_from_file_location("ci_audit", ROOT / ".ci" / "audit.py")
assert SPEC is not None
assert SPEC.loader is not None
audit = importlib.util.module_from_spec(SPEC)
sys.modules["ci_audit"] = audit
SPEC.loader.exec_module(audit)

SOUND = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found and could not be audited: b (1)"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}


def end(*entries: dict[str, object]) -> tuple[int, str]:
    verdict = audit.verdict_of(json.dumps({"dependencies": entries, "fixes": []}), "")
    return verdict.code, "\n".join(verdict.lines)


def test_audit__every_package_read_and_clean__is_sound() -> None:
    assert end(SOUND, SOUND) == (0, "audited: 2 packages, no known vulnerability")


def test_audit__one_vulnerable__is_named_with_what_mends_it() -> None:
    assert end(SOUND, BAD, SKIPPED) == (1, "VULNERABLE: c 2: PYSEC-1, mended in 2.1")


def test_audit__one_without_advisories__is_not_audited() -> None:
    code, said = end(SOUND, SKIPPED)
    assert code == 3
    assert said == "NOT AUDITED: 1 of 2 packages: no advisories for b"


def test_audit__no_package_at_all__is_not_audited() -> None:
    assert end()[0] == 3


@pytest.mark.parametrize("report", ["", "not json", "[]", '{"fixes": []}'])
def test_audit__no_report__is_not_audited_and_says_why(report: str) -> None:
    verdict = audit.verdict_of(report, "Traceback\nConnectionError: no route")
    assert verdict.code == 3
    assert verdict.lines == ("NOT AUDITED: pip-audit failed: ConnectionError: no route",)
