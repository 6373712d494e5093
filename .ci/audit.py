#!/usr/bin/env python3
"""Audit a lock for known vulnerabilities, and never mistake "nothing was read" for "nothing found".

pip-audit ends with 0 and "No known vulnerabilities found" where an index keeps no advisories and
every package was skipped. Here the end is one of three:

0   every package was looked up, none has a known vulnerability
1   a package has one: it is named, with the versions that mend it
3   advisories could not be read for some package: NOT AUDITED, and which
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SOUND: Final = 0
VULNERABLE: Final = 1
NOT_AUDITED: Final = 3
TIMEOUT_S: Final = 300
NAMED: Final = 5  # of what was not audited; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an audit ended."""

    code: int
    lines: tuple[str, ...]


def verdict_of(report: str, errors: str) -> Verdict:
    """Judge what pip-audit wrote."""
    try:
        entries = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = errors.strip().splitlines()[-1:] or ["it wrote nothing"]
        return Verdict(code=NOT_AUDITED, lines=(f"NOT AUDITED: pip-audit failed: {last[0]}",))
    found = [line for entry in entries for line in _vulnerabilities(entry)]
    skipped = [entry["name"] for entry in entries if "skip_reason" in entry]
    if found:
        return Verdict(code=VULNERABLE, lines=tuple(found))
    if skipped or not entries:
        more = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
        said = f"no advisories for {', '.join(skipped[:NAMED])}{more}" if skipped else "no packages"
        total = f"{len(skipped)} of {len(entries)} packages"
        return Verdict(code=NOT_AUDITED, lines=(f"NOT AUDITED: {total}: {said}",))
    return Verdict(code=SOUND, lines=(f"audited: {len(entries)} packages, no known vulnerability",))


def _vulnerabilities(entry: Mapping[str, Any]) -> list[str]:
    """Say what is known of one package."""
    return [
        f"VULNERABLE: {entry['name']} {entry['version']}: {each['id']}, mended in "
        + (", ".join(each["fix_versions"]) or "no version yet")
        for each in entry.get("vulns", ())
    ]


def audit(lock: Path) -> Verdict:
    """Ask pip-audit about a lock; nothing is installed."""
    tool = Path(sys.executable).with_name("pip-audit")
    command = [str(tool), "--disable-pip", "--require-hashes", "--format", "json"]
    command += ["--progress-spinner", "off", "--requirement", str(lock)]
    try:
        ran = subprocess.run(  # noqa: S603 -- our own tool and file
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return Verdict(code=NOT_AUDITED, lines=(f"NOT AUDITED: {fault}",))
    return verdict_of(ran.stdout, ran.stderr)


if __name__ == "__main__":
    verdict = audit(Path(sys.argv[1]))
    sys.stdout.write("\n".join(verdict.lines) + "\n")
    sys.exit(verdict.code)
