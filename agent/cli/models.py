"""`aml models`."""

from __future__ import annotations

import typer

app = typer.Typer(help="Train, evaluate and inspect models.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """List."""
