"""SIGHUP: all or nothing, what changed is said, what waits for a restart is not applied."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from agent.cli.setup import Prepared, prepare, require_world
from agent.config import Settings, load_settings
from agent.ground import Part
from agent.relaying import of_relay
from agent.reload import Reloader, changes
from agent.retuning import Threshold, Tunable

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


AT_ONCE = {
    "cycle.every_s": "[cycle]\nevery_s = 30\n",
    "prices.tick_s": "[prices]\ntick_s = 3.5\n",
    "impact.near_ppm": "[impact]\nnear_ppm = 12345\n",
    "warnings.calm_s": "[warnings]\ncalm_s = 7\n",
    "warnings.singles_a_minute": "[warnings]\nsingles_a_minute = 3\n",
    "keeper.calls_a_turn": "[keeper]\ncalls_a_turn = 1\n",
    "actions.mode": '[actions]\nmode = "off"\n',
    "quotes.slippage_ppm": "[quotes]\nslippage_ppm = 61\n",
    "payer.warn_days": "[payer]\nwarn_days = 9.0\n",
    "log.level": '[log]\nlevel = "warning"\n',
}
WAITS = {
    "quotes.evidence_kept_s": "[quotes]\nevidence_kept_s = 7200\n",
    "warnings.enabled": "[warnings]\nenabled = false\n",
    "marks.minimum_venues": "[marks]\nminimum_venues = 3\n",
    "network.spare_rpc_urls": '[network]\nspare_rpc_urls = ["https://b.example"]\n',
    "rules.valid_for_s": "[rules]\nvalid_for_s = 901\n",
    "derive.mode": '[derive]\nmode = "off"\n',
    "metrics.port": "[metrics]\nport = 1234\n",
}
TEXT = BASE.replace("[cycle]\nevery_s = 60\n", "")


def said_of(path: Path, part: Part, text: str) -> dict[object, object]:
    """Reload in a process of a part, and give what was said of each setting."""
    reloader = Reloader(str(path), load_settings(str(path)), part)
    path.write_text(text)
    with capture_logs() as said:
        reloader.reload(lambda _: None)
    return {line["name"]: line["event"] for line in said}


@pytest.mark.parametrize("name", AT_ONCE)
def test_reload__what_operators_change__is_taken_at_once(path: Path, name: str) -> None:
    path.write_text(TEXT)
    assert said_of(path, Part.WHOLE, TEXT + AT_ONCE[name]) == {name: "setting_changed"}


@pytest.mark.parametrize("name", WAITS)
def test_reload__what_is_built_once__is_named_and_waits(path: Path, name: str) -> None:
    path.write_text(TEXT)
    reloader = Reloader(str(path), load_settings(str(path)))
    before = reloader.settings
    path.write_text(TEXT + WAITS[name])
    with capture_logs() as said:
        reloader.reload(lambda _: None)
    assert {line["name"]: line["event"] for line in said} == {name: "setting_needs_restart"}
    assert reloader.settings == before


@pytest.mark.parametrize(
    ("part", "name", "event"),
    [
        (Part.RELAY, "payer.warn_days", "setting_changed"),
        (Part.RELAY, "log.level", "setting_changed"),
        (Part.RELAY, "prices.tick_s", "setting_needs_restart"),
        (Part.AGENT, "prices.tick_s", "setting_changed"),
        (Part.AGENT, "payer.warn_days", "setting_needs_restart"),
    ],
)
def test_reload__half_of_a_daemon__takes_its_own_part(
    path: Path, part: Part, name: str, event: str
) -> None:
    path.write_text(TEXT)
    assert said_of(path, part, TEXT + AT_ONCE[name]) == {name: event}


def test_reload__port_of_the_command_line__is_no_change(path: Path) -> None:
    told = partial(of_relay, metrics_port=0)
    reloader = Reloader(str(path), told(load_settings(str(path))), Part.RELAY, told)
    with capture_logs() as said:
        assert reloader.reload(lambda _: None) == "reloaded: 0 changed, 0 wait for a restart"
    assert said == []


def test_reload__file_of_channels_gone__changes_nothing_at_all(path: Path) -> None:
    path.write_text(TEXT)
    reloader = Reloader(str(path), load_settings(str(path)))
    before = reloader.settings
    path.write_text(TEXT + '[warnings]\nchannels_file = "/nowhere"\n[cycle]\nevery_s = 30\n')
    with capture_logs() as said:
        assert reloader.reload(Tunable().retune).startswith("reload refused")
    assert "channels_file" in str(said[0]["detail"])
    assert reloader.settings == before


def test_threshold__raised_while_it_runs__drops_what_is_below() -> None:
    threshold = Threshold("info")
    assert threshold(None, "info", {"event": "a"}) == {"event": "a"}
    threshold.level = "warning"
    with pytest.raises(structlog.DropEvent):
        threshold(None, "info", {"event": "a"})
    assert threshold(None, "exception", {"event": "a"}) == {"event": "a"}


@pytest.mark.parametrize("find", [prepare, require_world])
def test_reload__of_any_process__reads_the_file_that_it_was_started_with(
    tmp_path: Path, find: Callable[[str, Path], Prepared]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'extends = "local"\n[network]\nname = "mine"\nrpc_url = "http://127.0.0.1:1"\n'
        '[[venues]]\nid = "a"\nccxt_class = "okx"\n'
        '[[markets]]\nsymbol = "BTC"\nclass_id = 1\n'
        '[markets.listings.a]\nsymbol = "BTC/USDT:USDT"\n'
    )
    assert find(str(file), tmp_path).source == str(file)
