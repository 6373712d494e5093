"""`aml keys`: make a key, take one in, say an address; no secret is ever an argument or printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="keys",
    help="Keys of signers and senders: keystore files, systemd credentials, AWS KMS.",
    no_args_is_help=True,
)

FileArgument = Annotated[Path, typer.Argument(help="The keystore file to make; never overwritten.")]
PasswordOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="Made with a random password when absent."),
]


@app.command()
def new(file: FileArgument, password_file: PasswordOption = None) -> None:
    """Make a key in a keystore v3 and print its address.

    Example: aml keys new keys/price-1.json
    """
    from relayer.signing import keys

    beside = password_file or file.with_suffix(".password")
    _made(keys.new(file, beside), file, beside)


@app.command("import")
def import_(file: FileArgument, password_file: PasswordOption = None) -> None:
    """Put an existing key, asked for or on standard input, into a keystore v3.

    Example: aml keys import keys/gas-payer.json < exported.hex
    """
    import getpass
    import sys

    from relayer.signing import keys

    def ask() -> str:
        if sys.stdin.isatty():
            return getpass.getpass("64 hexadecimal digits (not shown): ")
        return sys.stdin.readline(1_024)

    beside = password_file or file.with_suffix(".password")
    _made(keys.take_in(file, beside, ask), file, beside)


@app.command()
def address(
    source: Annotated[str, typer.Argument(help="A file, credential:NAME or kms:REGION/KEY.")],
) -> None:
    """Print the address of a key; a keystore says it without its password.

    Example: aml keys address kms:eu-west-1/alias/price-1
    """
    from relayer.signing import keys
    from relayer.signing.keys_source import file_of, open_key

    kms = source.startswith("kms:")
    typer.echo(open_key(source).address if kms else keys.address(file_of(source)))


def _made(of: str, file: Path, password_file: Path) -> None:
    typer.echo(of)
    typer.echo(f"key in {file}, its password in {password_file}: keep them apart", err=True)
