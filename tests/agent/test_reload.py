"""SIGHUP: all or nothing, what changed is said, what waits for a restart is not applied."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from agent.config import Settings, load_settings
from agent.reload import Reloader, changes

BASE = 'extends = "megaeth"\n[cycle]\nevery_s = 60\n[storage]\nurl = "postgresql://db/aml"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(BASE)
    structlog.reset_defaults()
    return file


def reloaded(path: Path, text: str) -> tuple[str, list[Settings], list[dict[str, object]]]:
    """Change the file under a reloader, and reload."""
    reloader = Reloader(str(path), load_settings(str(path)))
    path.write_text(text)
    applied: list[Settings] = []
    with capture_logs() as said:
        answer = reloader.reload(applied.append)
    return answer, applied, [dict(line) for line in said]


def test_reload__paces__are_applied_and_said(path: Path) -> None:
    text = BASE.replace("every_s = 60", "every_s = 30") + "[prices.triggers]\nheartbeat_s = 7\n"
    answer, applied, said = reloaded(path, text)
    assert answer == "reloaded: 2 changed, 0 wait for a restart"
    assert (applied[0].cycle.every_s, applied[0].prices.triggers.heartbeat_s) == (30, 7)
    assert {(line["event"], line["name"], line["before"], line["after"]) for line in said} == {
        ("setting_changed", "cycle.every_s", 60, 30),
        ("setting_changed", "prices.triggers.heartbeat_s", 30, 7),
    }


def test_reload__what_needs_a_restart__is_said_and_not_applied(path: Path) -> None:
    answer, applied, said = reloaded(path, BASE + "[marks]\nminimum_venues = 3\n")
    assert answer == "reloaded: 0 changed, 1 wait for a restart"
    assert applied[0].marks.minimum_venues == 2
    assert [(line["event"], line["name"]) for line in said] == [
        ("setting_needs_restart", "marks.minimum_venues")
    ]


def test_reload__one_fault__changes_nothing_at_all(path: Path) -> None:
    text = BASE.replace("every_s = 60", "every_s = 30") + "[prices]\ntick_s = -1\n"
    answer, applied, said = reloaded(path, text)
    assert answer.startswith("reload refused")
    assert applied == []
    assert [line["event"] for line in said] == ["reload_refused"]
    assert "prices.tick_s" in str(said[0]["detail"])


def test_reload__file_gone__changes_nothing(path: Path) -> None:
    reloader = Reloader(str(path), load_settings(str(path)))
    path.unlink()
    with capture_logs():
        assert reloader.reload(lambda _: pytest.fail("applied")).startswith("reload refused")


def test_reload__again__compares_with_what_is_in_force(path: Path) -> None:
    reloader = Reloader(str(path), load_settings(str(path)))
    path.write_text(BASE + "[marks]\nminimum_venues = 3\n")
    with capture_logs():
        first = reloader.reload(lambda _: None)
        assert reloader.reload(lambda _: None) == first  # it still waits


def test_changes__address_with_a_secret__is_hidden(path: Path) -> None:
    old = load_settings(str(path))
    path.write_text(BASE + '[network]\nrpc_url = "https://a.example/v2/0123456789abcdefghij"\n')
    (change,) = changes(old, load_settings(str(path)))
    assert change.after == "https://a.example/v2/…"
