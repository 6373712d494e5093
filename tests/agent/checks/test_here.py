"""Facts about what the self-test finds on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.checks import here
from agent.checks.findings import Finding, Grade, is_well, skipped, warning, well
from agent.config import Settings, load_settings
from relayer import migrations


def keyed(folder: Path, **keys: str) -> Settings:
    lines = "\n".join(f'{name} = "{source}"' for name, source in keys.items())
    file = folder / "mine.toml"
    file.write_text(f'extends = "local"\n[network]\nname = "mine"\n[keys]\n{lines}\n')
    return load_settings(str(file))


def key_file(folder: Path, name: str, digit: str, mode: int = 0o600) -> str:
    file = folder / name
    file.write_text(digit * 64)
    file.chmod(mode)
    return str(file)


def graver(findings: tuple[Finding, ...]) -> list[Finding]:
    return [each for each in findings if each.grade is not Grade.WELL]


def test_keys__all_open_and_apart__is_well(tmp_path: Path) -> None:
    gas, guardian = key_file(tmp_path, "gas", "1"), key_file(tmp_path, "guardian", "2")
    held, findings = here.keys(keyed(tmp_path, gas_payer=gas, guardian=guardian))
    assert graver(findings) == []
    assert len(set(held.addresses.values())) == 2


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_keys__readable_by_others__names_the_command_that_mends_it(tmp_path: Path) -> None:
    gas = key_file(tmp_path, "gas", "1", 0o644)
    _, findings = here.keys(keyed(tmp_path, gas_payer=gas))
    (found,) = graver(findings)
    assert found.grade is Grade.FAULT
    assert found.mend == f"chmod 600 {gas}"


def test_keys__missing__says_how_to_make_one(tmp_path: Path) -> None:
    _, findings = here.keys(keyed(tmp_path, gas_payer=str(tmp_path / "none")))
    assert "aml keys new" in graver(findings)[0].mend


def test_keys__a_missing_credential__is_made_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    _, findings = here.keys(keyed(tmp_path, gas_payer="credential:gas"))
    assert graver(findings)[0].mend.startswith("aml keys new $CREDENTIALS_DIRECTORY/gas,")


def test_keys__two_roles_of_one_key__is_a_fault(tmp_path: Path) -> None:
    gas, guardian = key_file(tmp_path, "gas", "1"), key_file(tmp_path, "guardian", "1")
    _, findings = here.keys(keyed(tmp_path, gas_payer=gas, guardian=guardian))
    (found,) = graver(findings)
    assert "are one key" in found.says


def test_keys__none_named__is_a_dry_run_and_said(tmp_path: Path) -> None:
    file = tmp_path / "dry.toml"
    file.write_text('extends = "local"\n[network]\nname = "mine"\n')
    _, findings = here.keys(load_settings(str(file)))
    assert [each.grade for each in findings] == [Grade.WARNING]
    assert "dry run" in findings[0].says


def test_keys__deployers_left_on_the_host__is_a_warning(tmp_path: Path) -> None:
    gas, deployer = key_file(tmp_path, "gas", "1"), key_file(tmp_path, "deployer", "3")
    _, findings = here.keys(keyed(tmp_path, gas_payer=gas, deployer=deployer))
    (found,) = graver(findings)
    assert found.grade is Grade.WARNING


def test_database__never_made__is_made_at_the_first_start(tmp_path: Path) -> None:
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.WELL


def test_database__this_versions_tables__is_well(tmp_path: Path) -> None:
    migrations.upgrade(f"sqlite:///{tmp_path}/aml.db")
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.WELL, found


def test_database__of_another_version__says_how_to_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/aml.db"
    migrations.upgrade(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.FAULT
    assert "aml run migrates" in found.mend


def test_database__no_database_at_all__is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "aml.db").write_bytes(b"nothing that SQLite reads, for sure" * 100)
    (found,) = here.database(load_settings("local"), tmp_path)
    assert found.grade is Grade.FAULT


def test_disk__free_space__is_measured_where_the_state_will_be(tmp_path: Path) -> None:
    (found,) = here.disk(tmp_path / "not" / "there" / "yet")
    assert str(tmp_path) in found.says


def test_is_well__warnings_pass_and_what_was_not_looked_at_does_not() -> None:
    assert is_well([well("disk", ""), warning("keys", "")])
    assert not is_well([well("disk", ""), skipped("contracts", "")])
