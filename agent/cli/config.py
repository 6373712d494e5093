"""`aml config`: what is in force and who wrote it, and whether a file may go into service."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.run import NetworkOption

app = typer.Typer(help="The settings: in force, and in your files.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="For scripts: one JSON value.")]


@app.command("show", epilog="Example: aml config show --network mine.toml --changed")
def show(
    network: NetworkOption = "local",
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what default.toml does not say.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print every setting in force with the file that it was written in; secrets are hidden.

    Exit code 0: the settings are valid; 1: they are not, with every fault.
    """
    import json
    from dataclasses import asdict

    from agent.config import settings_of
    from agent.config_report import CODE, shown
    from agent.layers import DEFAULT, layered

    layers = layered(network)
    rows = shown(settings_of(layers), layers)
    if changed:
        rows = tuple(row for row in rows if row.origin not in {f"{DEFAULT}.toml", CODE})
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
        return
    for row in rows:
        typer.echo(row.line)


@app.command("check", epilog="Example: aml config check mine.toml signer-1.toml")
def check(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files or networks; our own networks if none.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check configuration files for CI: nothing is opened but the files themselves.

    Exit code 0: all can be used; 1: some cannot, with every fault of each.
    """
    import json

    from agent.config import load_settings
    from agent.errors import ConfigError
    from agent.layers import networks

    answers = []
    for name in files or networks():
        try:
            settings = load_settings(name)
        except ConfigError as fault:
            answers.append({"file": name, "sound": False, "said": str(fault)})
            continue
        said = f"{name}: sound; network {settings.network.name}, {len(settings.markets)} markets"
        answers.append({"file": name, "sound": True, "said": said})
    if as_json:
        typer.echo(json.dumps(answers, ensure_ascii=False))
    else:
        for each in answers:
            typer.echo(each["said"], err=not each["sound"])
    if not all(each["sound"] for each in answers):
        raise typer.Exit(1)
