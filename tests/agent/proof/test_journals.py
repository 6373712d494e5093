"""Opening journals: what was typed is judged, and nothing is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from agent.errors import ConfigError
from agent.proof.journals import open_journal, url_of
from relayer import migrations
from relayer.errors import KeyRefused, SchemaOutdated

pytestmark = [pytest.mark.loopback]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nonsense://", "postgresql://USER@HOST/NAME"),
        ("mysql://a/b", "postgresql://USER@HOST/NAME"),
        ("postgresql://aml:planted@db.internal/aml", "has a password"),
        ("sqlite:////nowhere/aml.db", "/nowhere/aml.db: there is no such file"),
        ("/nowhere/aml.db", "/nowhere/aml.db: there is no such file"),
        ("postgresql://aml@127.0.0.1:1/aml", "cannot be read"),
    ],
)
def test_journal__typed_wrongly__says_what_to_give(given: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        open_journal(given)
    assert "planted" not in str(refused.value)


def test_journal__absent__is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_journal(f"sqlite:///{tmp_path}/none/aml.db")
    assert list(tmp_path.iterdir()) == []


def test_journal__another_database__is_refused(tmp_path: Path) -> None:
    (tmp_path / "aml.db").touch()
    with pytest.raises(SchemaOutdated):
        open_journal(str(tmp_path / "aml.db"))


async def test_journal__of_a_daemon__is_opened(tmp_path: Path) -> None:
    migrations.upgrade(f"sqlite:///{tmp_path}/aml.db")
    await open_journal(f"{tmp_path}/aml.db").close()


def test_journal__password_file__is_read_and_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("planted\n")
    given = f"postgresql://aml@db.internal/aml?password_file={file}"
    file.chmod(0o644)
    with pytest.raises(KeyRefused, match=f"password file {file}: mode 0644"):
        url_of(given)
    file.chmod(0o600)
    assert url_of(given) == make_url("postgresql://aml:planted@db.internal/aml")
