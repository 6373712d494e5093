"""Container files, as far as they can be held without an engine: compose, its keys, its health."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
OURS = ("aml", "signer-1", "signer-2", "signer-3", "watcher")
TOKEN = "0x" + "77" * 20


def test_compose__validated_by_compose_itself() -> None:
    tool = shutil.which("docker-compose")
    if tool is None:
        if os.environ.get("AML_REQUIRE_ALL") == "1":
            pytest.fail("needs apt-get install docker-compose")
        pytest.skip("docker-compose is not installed")
    ran = subprocess.run(
        [tool, "--file", ROOT / "compose.yaml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_compose__has_everything_that_was_promised() -> None:
    others = {"chain", "database", "prometheus", "grafana"}
    assert set(COMPOSE["services"]) == {*OURS, *others}


@pytest.mark.parametrize("name", OURS)
def test_compose__our_services__are_read_only_and_without_capabilities(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_compose__every_port_outside__is_on_loopback() -> None:
    ports = [port for each in COMPOSE["services"].values() for port in each.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose__no_image_without_a_version() -> None:
    images = {each["image"] for each in COMPOSE["services"].values()}
    for image in images - {"${AML_IMAGE:-aml}"}:
        assert re.fullmatch(r"\$\{\w+_IMAGE:-[\w./-]+:v?\d+[\w.-]*\}", image), image


def test_compose__mounted_files_of_the_repository__exist() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith("./config") or (ROOT / source).exists(), source


def test_compose__prometheus__scrapes_each_process_of_ours() -> None:
    text = (ROOT / "config" / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["scrape_configs"]
    targets = {t.split(":")[0] for job in jobs for c in job["static_configs"] for t in c["targets"]}
    assert targets == set(OURS)


@pytest.mark.long
def test_prepare__makes_keys_and_a_sound_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    ran = subprocess.run(
        [ROOT / "config" / "compose" / "prepare", folder, TOKEN],
        env={**os.environ, "AML": f"{sys.executable} -m agent.cli.main"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    settings = load_settings(str(folder / "aml.toml"))
    assert settings.signers is not None
    assert len(settings.signers.peers) == 3
    mounted = {name: each["file"].rsplit("/", 1)[1] for name, each in COMPOSE["secrets"].items()}
    for file in mounted.values():
        assert (folder / "secrets" / file).stat().st_mode & 0o077 == 0
    for secret in (folder / "secrets").glob("*"):
        assert secret.read_text().strip() not in ran.stdout


def test_template__names_only_secrets_that_compose_mounts() -> None:
    text = (ROOT / "config" / "compose" / "aml.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"/run/secrets/([a-z-]+)", text))
    targets = set()
    for service in COMPOSE["services"].values():
        for secret in service.get("secrets", ()):
            targets.add(secret if isinstance(secret, str) else secret["target"])
    assert named <= targets
    assert tomllib.loads(text)["network"]["rpc_url"] == "http://chain:8545"


def test_dockerfile__two_stages_and_the_last_is_nobody_without_tools() -> None:
    first, last = DOCKERFILE.split("\nFROM ${BASE}\n")
    assert "FROM ${BASE} AS build" in first
    assert "apt-get" not in last
    assert "pip" not in last
    assert re.search(r"^USER aml$", last, re.MULTILINE)
    assert 'CMD ["aml", "health"]' in last


def test_dockerfile__base__is_pinned_by_version_and_can_be_by_digest() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)


def test_dockerfile__what_it_copies__is_let_through_and_exists() -> None:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for path in (path for line in lines for path in line.split()):
        assert f"!{path}" in ignored
        assert (ROOT / path).exists()
