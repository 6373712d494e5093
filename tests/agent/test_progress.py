"""What long work says of itself: on a terminal, in a log."""

from __future__ import annotations

import sys

import pytest

from agent.cli.progress import Reporter, count


def test_log__a_thousand_steps__a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    for done in range(1_001):
        reporter.say(f"scoring rows {done}/1000")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"scoring rows {done}/1000" for done in range(0, 1_001, 100)]


def test_log__a_dozen_steps__each_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    for done in range(1, 13):
        reporter.say(f"deploying {done}/12 market M{done}")
    assert len(capsys.readouterr().err.splitlines()) == 12


def test_terminal__one_line_that_changes_and_then_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    reporter = Reporter()
    for done in (0, 1, 2):
        reporter.say(f"history {done}/2 BTC")
    reporter.say("done")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 2
    assert err.endswith(f"[{'#' * 24}] history 2/2 BTC\ndone\n")
    assert f"[{'.' * 24}] history 0/2 BTC" in err


def test_terminal__work_breaks_off_for_a_sentence__it_has_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    reporter = Reporter()
    reporter.say("history 1/2 BTC")
    reporter.say("stopped")
    assert capsys.readouterr().err.endswith("history 1/2 BTC\nstopped\n")


def test_count__total_unknown__is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    count("reading markets", 10, 0)
    assert capsys.readouterr().err == "reading markets 10\n"
