"""The wheel: complete, reproducible, and at work in an environment that has no checkout."""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="the package builder is not installed")

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("agent", "contracts", "models", "relayer")
FOLDERS = (*PACKAGES, "config")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")
COMMIT_TIME = "1700000000"


def built(folder: Path) -> Path:
    """Copy the sources into a folder of their own, and build a wheel there."""
    source = folder / "source"
    for name in FOLDERS:
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    return build(source, folder / "dist")


def build(source: Path, into: Path) -> Path:
    """Build by way of the source distribution, so that nothing stale is in the wheel."""
    ran = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", into, source],
        env={"SOURCE_DATE_EPOCH": COMMIT_TIME, "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2_000:] + ran.stderr[-2_000:]
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An environment with the wheel and what it needs, and an empty folder to work in.

    The requirements are this environment's own, lent by a path file; `.ci/package` installs them.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    (library,) = (folder / "venv" / "lib").glob("python*/site-packages")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", folder / "venv" / "bin" / "python"),
            *("install", "--quiet", "--no-deps", "--no-index", wheel),
        ],
        check=True,
    )
    lent = "\n".join(site.getsitepackages())  # path files in there are not followed: no checkout
    (library / "lent.pth").write_text(lent + "\n")
    (folder / "work").mkdir()
    return folder / "venv" / "bin", folder / "work"


def run(empty: tuple[Path, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    binaries, work = empty
    return subprocess.run(
        [binaries / "aml", *arguments],
        cwd=work,
        env={"PATH": "/usr/bin:/bin", "HOME": str(work)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def test_wheel__top_level__is_our_four_packages_alone(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("pattern", ["*.py", "*.vy", "*.vyi", "*.json", "*.mako", "py.typed"])
def test_wheel__every_file_of_ours_is_in_it(wheel: Path, pattern: str) -> None:
    source = wheel.parent.parent / "source"
    found = [path for name in PACKAGES for path in (source / name).rglob(pattern)]
    assert {str(path.relative_to(source)) for path in found} - names(wheel) == set()


def test_wheel__models_and_configuration_are_in_it(wheel: Path) -> None:
    found = names(wheel)
    source = wheel.parent.parent / "source"
    models = {str(p.relative_to(source)) for p in (source / "models/artifacts").glob("*/*")}
    config = {
        f"agent/shipped_config/{p.relative_to(source / 'config')}"
        for p in (source / "config").rglob("*")
        if p.is_file()
    }
    assert models
    assert (models | config) - found == set()


def test_wheel__built_again_elsewhere__has_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    again = build(wheel.parent.parent / "source", tmp_path)
    assert again.read_bytes() == wheel.read_bytes()


def test_installed__imports_come_from_the_wheel(empty: tuple[Path, Path]) -> None:
    asked = "import agent, contracts.artifacts as c; print(agent.__file__); print(c.__file__)"
    ran = subprocess.run(
        [empty[0] / "python", "-c", asked], cwd=empty[1], capture_output=True, text=True, check=True
    )
    assert str(ROOT) not in ran.stdout.replace(str(empty[0].parent), "")
    assert ran.stdout.count(str(empty[0].parent)) == 2


def test_installed__commands_answer_from_an_empty_directory(empty: tuple[Path, Path]) -> None:
    ran = run(empty, "config", "check")
    assert ran.returncode == 0, ran.stderr
    assert "megaeth: sound" in ran.stdout
    assert run(empty, "--help").returncode == 0
    card = run(empty, "models", "card")
    assert card.returncode == 0, card.stderr


def test_installed__working_directory_with_a_config_folder__shadows_nothing(
    empty: tuple[Path, Path],
) -> None:
    foreign = empty[1] / "config"
    foreign.mkdir()
    (foreign / "default.toml").write_text("nonsense = = 1")
    (foreign / "__init__.py").write_text("raise RuntimeError")
    try:
        assert run(empty, "config", "check", "megaeth").returncode == 0
    finally:
        shutil.rmtree(foreign)


@pytest.mark.long
def test_installed__demo__tells_its_story(empty: tuple[Path, Path]) -> None:
    ran = subprocess.run(
        [empty[0] / "aml", "demo"], cwd=empty[1], capture_output=True, text=True, timeout=900,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_lock__of_operators__is_hashed_throughout_and_a_part_of_the_developers() -> None:
    def versions(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return set(re.findall(r"^([a-z0-9._-]+==\S+)", text, re.MULTILINE))

    run_lock = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=[a-z0-9])", run_lock)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert versions("run.txt") <= versions("dev.txt")
    assert not {each.split("==")[0] for each in versions("run.txt")} & {"pytest", "mypy", "vyper"}
