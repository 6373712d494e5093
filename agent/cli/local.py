"""`aml local`: the embedded chain, the exchanges and their one clock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The embedded chain, exchanges and clock.", no_args_is_help=True)

State = Annotated[
    Path, typer.Option("--state", help="Folder of the local world.", envvar="AML_STATE")
]
DEFAULT_STATE = Path(".aml/local")
