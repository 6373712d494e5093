"""The rules of marks, feeds and jumps as a network file sets them."""

from __future__ import annotations

import pytest

from agent.config import Settings, load_settings
from agent.errors import ConfigError
from agent.settings import parse
from relayer.market.feeds import FeedRules
from relayer.market.jumps import JumpRules

NETWORK = '[network]\nname = "local"\n[rules.policy.classes]\n'


def test_settings__local_network__writes_out_the_defaults() -> None:
    settings = load_settings("local")
    assert (settings.feeds, settings.jumps) == (FeedRules(), JumpRules())


def test_settings__nothing_said__the_defaults() -> None:
    settings = parse(Settings, NETWORK, source="a.toml")
    assert (settings.feeds, settings.jumps) == (FeedRules(), JumpRules())


def test_settings__said__as_said() -> None:
    text = f"{NETWORK}[feeds]\nfrozen_after_ms = 20_000\n[jumps]\njump_ppm = 50_000\n"
    settings = parse(Settings, text, source="a.toml")
    assert settings.feeds == FeedRules(frozen_after_ms=20_000)
    assert settings.jumps == JumpRules(jump_ppm=50_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[feeds]\nfrozen_after = 1", "did you mean 'frozen_after_ms'"),
        ("[jumps]\njump_pm = 1", "did you mean 'jump_ppm'"),
        ("[feeds]\nfrozen_move_ppm = 0", "must be above 0"),
        ("[jumps]\nsecond_look_ms = 20_000", "within window_ms"),
        ('[jumps]\njump_ppm = "3 %"', "must be a whole number"),
    ],
)
def test_settings__wrong__says_what_is_right(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(Settings, f"{NETWORK}{text}\n", source="a.toml")
