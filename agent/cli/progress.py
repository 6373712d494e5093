"""How far long work has come, on standard error: a bar on a terminal, some lines in a log."""

from __future__ import annotations

import re
import sys
from typing import Final

import typer

COUNTED: Final = re.compile(r"(?P<stage>.+?) (?P<done>\d+)/(?P<total>[1-9]\d*)(?P<rest> .*)?")
WIDTH: Final = 24
PARTS: Final = 10  # a log gets a line for each such part of what is counted, or for each one


class Reporter:
    """Says each text; one that counts, `STAGE DONE/TOTAL`, is a bar or a few lines."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None
        self._bar = False

    def say(self, text: str) -> None:
        """Say a text."""
        counted = COUNTED.fullmatch(text)
        if counted is None:
            self._end_bar()
            typer.echo(text, err=True)
            return
        done, total = int(counted["done"]), int(counted["total"])
        if sys.stderr.isatty():
            self._draw(text, done, total)
            return
        now = (counted["stage"], done // max(1, total // PARTS))
        if now != self._said or done == total:
            typer.echo(text, err=True)
        self._said = now

    def _draw(self, text: str, done: int, total: int) -> None:
        filled = min(WIDTH, WIDTH * done // total)
        sys.stderr.write(f"\r\x1b[K[{'#' * filled}{'.' * (WIDTH - filled)}] {text}")
        sys.stderr.flush()
        self._bar = True
        if done >= total:
            self._end_bar()

    def _end_bar(self) -> None:
        """Leave the bar's line, so that what comes next has one of its own."""
        if self._bar:
            sys.stderr.write("\n")
        self._bar = False


_REPORTER: Final = Reporter()


def report(text: str) -> None:
    """Say how far a slow work has come."""
    _REPORTER.say(text)


def count(stage: str, done: int, total: int) -> None:
    """Say how many of how many are done; a total of 0 is not known."""
    report(f"{stage} {done}/{total}" if total else f"{stage} {done}")
