"""Keys at the command line: a planted secret is looked for wherever it could show."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from relayer.signing.keys import load

AML = [sys.executable, "-m", "agent.cli.main", "keys"]
SECRET = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"


def aml(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AML, *arguments], input=given, capture_output=True, text=True, timeout=120, check=False
    )


def test_keys__new__prints_an_address_that_the_file_says_too(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "price-1.json"
    made = aml("new", str(file))
    assert made.returncode == 0, made.stderr
    assert aml("address", str(file)).stdout == made.stdout
    assert file.with_suffix(".password").read_text().strip() not in made.stdout + made.stderr
    again = aml("new", str(file))
    assert again.returncode == 1
    assert "not overwritten" in again.stderr


def test_keys__import__planted_secret_is_in_no_argument_output_or_file(tmp_path: Path) -> None:
    file = tmp_path / "gas.json"
    with subprocess.Popen(
        [*AML, "import", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(SECRET + "\n")
        process.stdin.flush()
        seen = b""
        while process.poll() is None:  # what `ps e` shows to everybody
            for name in ("cmdline", "environ"):
                try:
                    seen += Path(f"/proc/{process.pid}/{name}").read_bytes()
                except (FileNotFoundError, ProcessLookupError):
                    continue
            time.sleep(0.02)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.strip() == ADDRESS
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET.encode() not in seen + files + out.encode() + err.encode()
    assert load(file, file.with_suffix(".password")).address == ADDRESS


def test_keys__import_of_nonsense__is_one_sentence_without_it(tmp_path: Path) -> None:
    refused = aml("import", str(tmp_path / "gas.json"), given=SECRET + "9\n")
    assert refused.returncode == 1
    assert "64 hexadecimal digits" in refused.stderr
    assert SECRET not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


def test_keys__address_of_a_missing_file__says_how_to_make_one(tmp_path: Path) -> None:
    refused = aml("address", str(tmp_path / "none.json"))
    assert refused.returncode == 1
    assert "aml keys new" in refused.stderr
