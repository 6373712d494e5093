"""`aml quote` and `aml owner show` judge what was typed before they ask anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.main import app
from agent.errors import ConfigError
from agent.owner.safe import BatchError, checksum

HOLDER = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"
WELL = [HOLDER, "ETH", "long", "0.5", "5x"]


def said(arguments: list[str], state: Path) -> str:
    """Run a command where no world is, and give what it says is wrong."""
    found = CliRunner().invoke(app, [*arguments, "--state", str(state)])
    assert isinstance(found.exception, ConfigError | BatchError), found.output
    return str(found.exception)


def typed(at: int, word: str) -> list[str]:
    return ["quote", *WELL[:at], word, *WELL[at + 1 :]]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (typed(0, "vitalik"), "is no address; give 0x and 40"),
        (typed(0, HOLDER.replace("d8dA", "d8da")), "its checksum is wrong"),
        (typed(0, HOLDER[:-1]), "is no address"),
        (typed(2, "up"), "side 'up': give one of long, short"),
        (typed(3, "0"), "size 0: must be above 0"),
        (typed(3, "half"), "size 'half': is no number; write it like 0.25"),
        (typed(3, "1e70"), "is no number that anything could be"),
        (typed(4, "0.5x"), "leverage 0.5x: must be between 1 and"),
        (typed(4, "9999x"), "leverage 9999x: must be between 1 and"),
        (typed(4, "5.001"), "has more than 2 digits"),
        ([*typed(4, "5"), "--mode", "shared"], "--mode 'shared': give one of isolated, cross"),
        ([*typed(4, "5"), "--adjustment", "free"], "give one of fixed, managed"),
        ([*typed(4, "5"), "--margin=-1"], "margin -1: must be an amount of USDC"),
    ],
)
def test_quote__typed_wrongly__says_what_to_give_without_a_world(
    command: list[str], word: str, tmp_path: Path
) -> None:
    assert word in said(command, tmp_path)


def test_quote__unknown_market_of_a_file__is_named_without_an_endpoint(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'extends = "megaeth"\n[network]\nrpc_url = "http://127.0.0.1:9"\n'
        '[[venues]]\nid = "one"\nccxt_class = "okx"\n'
        '[[markets]]\nsymbol = "ETH"\nclass_id = 1\n'
        '[markets.listings.one]\nsymbol = "ETH/USDT:USDT"\n'
    )
    command = [*typed(1, "ETHER"), "--network", str(file)]
    assert "did you mean ETH?" in said(command, tmp_path)


def batch(**changes: object) -> str:
    body: dict[str, object] = {"meta": {"name": "a"}, "chainId": "1", "transactions": []}
    body["meta"] = {"name": "a", "checksum": checksum(body)}
    return json.dumps(body | changes)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "no such file"),
        ("", "is not a batch of the Safe interface"),
        ("[]", "is not a batch"),
        ("{}", "is not a batch"),
        (batch(chainId="2"), "was changed after it was written"),
    ],
)
def test_owner_show__no_batch__says_so_without_a_world(
    content: str | None, word: str, tmp_path: Path
) -> None:
    file = tmp_path / "batch.json"
    if content is not None:
        file.write_text(content)
    assert word in said(["owner", "show", str(file)], tmp_path)
