"""Which model is in charge: promotion through gates, each step journalled with its reason.

A registry is a folder of artifacts and `promotions.jsonl`, one line a step, each with the hash of
the line before it. The last line names the champion; nothing is ever rewritten.

Exceptions::

    RegistryError
    ├── PromotionRefused     a gate is not passed, or the evidence is not of this model
    ├── NothingToRollBack    no earlier champion is known
    └── BrokenJournal        a line was changed or lost
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.artifact import default_artifact, load

JOURNAL = "promotions.jsonl"
REPORT_LIMIT = 20_000_000
LEAST_ROWS = 1_000
MOST_BREACHES, LEAST_BREACHES = 1.2, 0.5
"""Breaches over the promise: more is unsafe, far fewer costs traders for nothing."""
PASSING_SHARE = 0.9
"""Share of markets on which Kupiec must not be rejected (design.md section 8)."""
WORST_YEAR = 1.75
"""No year above so many times the promise (reference, G3)."""
MOST_REFUSED = 0.02
AGAINST_EWMA, AGAINST_CHAMPION = 0.9, 1.01
"""QLIKE over that of the EWMA, and over the champion's on the same candles, at most."""


class RegistryError(Exception):
    """The registry cannot do what was asked; the message says what to do."""


class PromotionRefused(RegistryError):  # noqa: N818 - a refusal is what it is
    """A gate is not passed, or the evidence is not of this model."""


class NothingToRollBack(RegistryError):  # noqa: N818 - says it
    """No earlier champion is known."""


class BrokenJournal(RegistryError):  # noqa: N818 - says it
    """The journal of promotions was changed or is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One condition of promotion and what was measured."""

    name: str
    measured: float
    limit: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the journal.

    Attributes
    ----------
    kind : str
        ``promote``, ``force`` (gates not passed), ``rollback``, or ``challenge``, which changes
        nobody in charge.
    model, previous : str
        Hashes in hex; empty is the shipped model, or nobody in the shadow.
    reason : str
        The operator's words.
    at_ms : int
        When.
    report_sha256 : str
        The evaluation that was shown; empty where there was none.
    gates : tuple of Gate
        What was measured.
    after : str
        SHA-256 of the line before; empty on the first.
    """

    kind: str
    model: str
    previous: str
    reason: str
    at_ms: int
    report_sha256: str = ""
    gates: tuple[Gate, ...] = ()
    after: str = ""

    @property
    def line(self) -> str:
        """The step as it is written."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Reports of `aml models evaluate`: of the challenger, and of the champion."""

    report: Path
    champion_report: Path | None = None


def gates(report: Mapping[str, Any], champion: Mapping[str, Any] | None = None) -> tuple[Gate, ...]:
    """Measure every gate on a report; a report that lacks a figure is refused."""
    try:
        return tuple(_gates(report, champion))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as fault:
        raise PromotionRefused(
            f"the report lacks {fault}: write it with `aml models evaluate --json`"
        ) from fault


def reports_of(model: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Read reports, each of which must be of this model."""
    found = []
    for path in paths:
        report, _ = _report(path)
        _require_of(report, model, path)
        found.append(report)
    return found


class Registry:
    """The models of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def steps(self) -> tuple[Step, ...]:
        """Read the journal, oldest first, and check its chain."""
        path = self._folder / JOURNAL
        if not path.is_file():
            return ()
        found: list[Step] = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            step = _step(path, number, line)
            if step.after != (_sha256(found[-1].line) if found else ""):
                raise BrokenJournal(f"{path}, line {number}: does not follow the line before it")
            found.append(step)
        return tuple(found)

    def champion(self) -> Path:
        """Return the folder of the model in charge; the shipped one before any promotion."""
        return self._folder_of(self._stack()[-1])

    def succession(self) -> tuple[Path, ...]:
        """Return the champion's folder, then those that were in charge before it, newest first."""
        return tuple(self._folder_of(model) for model in reversed(self._stack()))

    def challenger(self) -> Path | None:
        """Return the folder of the model that runs in the champion's shadow, if there is one."""
        named = next((s.model for s in reversed(self.steps()) if s.kind == "challenge"), "")
        return self._artifact(named) if named and named != self.champion().name else None

    def stamp(self) -> tuple[int, int]:
        """Return what changes whenever a step is written: cheap enough to ask each cycle."""
        path = self._folder / JOURNAL
        if not path.is_file():
            return (0, 0)
        found = path.stat()
        return (found.st_mtime_ns, found.st_size)

    def challenge(self, model: str, *, reason: str, at_ms: int) -> Step:
        """Let a model run in the champion's shadow; an empty name ends that."""
        if not reason.strip():
            raise PromotionRefused("a challenge needs a reason: --reason")
        if model:
            load(self._artifact(model))
        steps = self.steps()
        step = Step(
            kind="challenge",
            model=model,
            previous=next((s.model for s in reversed(steps) if s.kind == "challenge"), ""),
            reason=reason,
            at_ms=at_ms,
            after=_sha256(steps[-1].line) if steps else "",
        )
        return self._written(step)

    def promote(
        self, model: str, evidence: Evidence | None, *, reason: str, at_ms: int, force: bool = False
    ) -> Step:
        """Put a model in charge.

        Raises
        ------
        PromotionRefused
            Unless every gate is passed; with `force` the step is journalled as forced.
        ArtifactRefused
            When the artifact itself cannot be used: that is never forced.
        """
        if not reason.strip():
            raise PromotionRefused("a promotion needs a reason: --reason")
        load(self._artifact(model))
        steps = self.steps()
        previous = self._stack()[-1]
        found, digest = self._evidence(model, evidence, force=force)
        failed = [gate for gate in found if not gate.passed]
        if failed and not force:
            raise PromotionRefused("not promoted: " + "; ".join(_words(gate) for gate in failed))
        kind = "force" if failed or evidence is None else "promote"
        step = Step(
            kind=kind,
            model=model,
            previous=previous,
            reason=reason,
            at_ms=at_ms,
            report_sha256=digest,
            gates=found,
            after=_sha256(steps[-1].line) if steps else "",
        )
        return self._written(step)

    def rollback(self, *, reason: str, at_ms: int) -> Step:
        """Put the model before the champion in charge again."""
        if not reason.strip():
            raise PromotionRefused("a rollback needs a reason: --reason")
        steps, stack = self.steps(), self._stack()
        if len(stack) < 2:
            raise NothingToRollBack(f"{self._folder}: no promotion to go back from")
        if stack[-2]:
            load(self._artifact(stack[-2]))
        step = Step(
            kind="rollback",
            model=stack[-2],
            previous=stack[-1],
            reason=reason,
            at_ms=at_ms,
            after=_sha256(steps[-1].line),
        )
        return self._written(step)

    def _stack(self) -> list[str]:
        """Return who was in charge, the shipped model (empty) first, the champion last."""
        stack = [""]
        for step in self.steps():
            if step.kind == "rollback":
                stack.pop()
            elif step.kind != "challenge":
                stack.append(step.model)
        return stack

    def _folder_of(self, model: str) -> Path:
        return self._artifact(model) if model else default_artifact()

    def _evidence(
        self, model: str, evidence: Evidence | None, *, force: bool
    ) -> tuple[tuple[Gate, ...], str]:
        """Read the reports and measure the gates."""
        if evidence is None:
            if force:
                return (), ""
            raise PromotionRefused("a promotion needs a report: --report, or --force")
        report, digest = _report(evidence.report)
        _require_of(report, model, evidence.report)
        champion, rival = self.champion().name, None
        if evidence.champion_report is not None:
            rival, _ = _report(evidence.champion_report)
            _require_of(rival, champion, evidence.champion_report)
            if [rival.get(k) for k in ("candles", "horizon_s")] != [
                report.get(k) for k in ("candles", "horizon_s")
            ]:
                raise PromotionRefused("both reports must be of the same candles and horizon")
        elif champion != model and not force:
            raise PromotionRefused(
                f"compare it with the champion {champion[:12]}: evaluate that on the same candles "
                "and give --champion-report"
            )
        return gates(report, rival), digest

    def _artifact(self, model: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", model):
            raise RegistryError(f"{model} is no model hash: 64 digits, see `aml models list`")
        shipped = default_artifact()
        return shipped if model == shipped.name else self._folder / model

    def _written(self, step: Step) -> Step:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(step.line + "\n")
        return step


def _gates(report: Mapping[str, Any], champion: Mapping[str, Any] | None) -> list[Gate]:
    promise, ours = 1.0 - float(report["level"]), float(report["qlike"]["ours"])
    found = [
        _gate("rows", float(report["rows"]), low=LEAST_ROWS),
        _gate("share out of domain", float(report["refused_share"]), high=MOST_REFUSED),
    ]
    for side in ("long", "short"):
        line = report["sides"][side]
        share = float(line["breach_share"]) / promise
        passed = float(line["kupiec_passed"]) / float(line["symbols"])
        worst = float(line["worst_year_share"]) / promise
        found += [
            _gate(f"{side} breaches over promise", share, low=LEAST_BREACHES, high=MOST_BREACHES),
            _gate(f"{side} markets that pass Kupiec", passed, low=PASSING_SHARE),
            _gate(f"{side} worst year over promise", worst, high=WORST_YEAR),
        ]
    against = ours / float(report["qlike"]["ewma"])
    found.append(_gate("QLIKE over that of the EWMA", against, high=AGAINST_EWMA))
    if champion is not None:
        against = ours / float(champion["qlike"]["ours"])
        found.append(_gate("QLIKE over that of the champion", against, high=AGAINST_CHAMPION))
    return found


def _gate(
    name: str, measured: float, *, low: float | None = None, high: float | None = None
) -> Gate:
    # a figure that is not a number passes nothing
    passed = (low is None or measured >= low) and (high is None or measured <= high)
    bounds = (("at least", low), ("at most", high))
    parts = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
    if not math.isfinite(measured):
        raise PromotionRefused(f"{name} is {measured}: no figure, no promotion")
    return Gate(name=name, measured=measured, limit=" and ".join(parts), passed=passed)


def _words(gate: Gate) -> str:
    return f"{gate.name} is {gate.measured:.4g}, must be {gate.limit}"


def _report(path: Path) -> tuple[dict[str, Any], str]:
    if not path.is_file() or path.stat().st_size > REPORT_LIMIT:
        raise PromotionRefused(f"{path} is no report: write it with `aml models evaluate --json`")
    data = path.read_bytes()
    try:
        report = json.loads(data)
    except ValueError as fault:
        raise PromotionRefused(f"{path} is not JSON: {fault}") from fault
    if not isinstance(report, dict):
        raise PromotionRefused(f"{path} must hold one object")
    return report, hashlib.sha256(data).hexdigest()


def _require_of(report: Mapping[str, Any], model: str, path: Path) -> None:
    if report.get("modelHash") != model:
        raise PromotionRefused(f"{path} is of another model than {model[:12]}: evaluate that one")


def _step(path: Path, number: int, line: str) -> Step:
    try:
        content = json.loads(line)
        found: Sequence[Mapping[str, Any]] = content.pop("gates")
        return Step(**content, gates=tuple(Gate(**gate) for gate in found))
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise BrokenJournal(f"{path}, line {number}: {fault}; restore it from a backup") from fault


def _sha256(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
