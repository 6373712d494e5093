"""Writes docs/cli.md from the commands themselves: python -m agent.cli.reference > docs/cli.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import typer

HEAD = """# Command line

Written from the commands by `python -m agent.cli.reference`; a test keeps it so. Every command has
`--help`.

| exit code | means |
|---|---|
| 0 | done, and all is well; of a process that serves: told to end by Ctrl-C or SIGTERM, and ended |
| 1 | not so: one sentence on standard error says what to do, or the command's own answer is no |
| 2 | the command was not understood |
| 130 | stopped by Ctrl-C; what was in flight is found by the next start |

Results go to standard output, progress and faults to standard error. Long work counts its steps:
in a bar on a terminal, in a few lines in a log. Files are written whole: Ctrl-C leaves each as it
was or complete. `aml --install-completion` sets up completion for bash, zsh and fish.
"""


def page(app: typer.Typer) -> str:
    """Write the page."""
    root = typer.main.get_command(app)
    return "\n".join([HEAD, *(line for each in commands(root, "aml") for line in section(*each))])


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's own click
    """Yield every command with its full name, in the order of help."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for each, found in below.items():
        if not found.hidden:
            yield from commands(found, f"{name} {each}")


def section(name: str, command: Any) -> list[str]:  # noqa: ANN401 - typer's own click
    """Write one command."""
    said = (command.help or "").replace("\f", "").strip()
    text = "\n\n".join(filter(None, [said, command.epilog or ""]))
    text = re.sub(r"^Example: (.+)$", r"    \1", text, flags=re.MULTILINE)
    rows = [row(each) for each in command.params]
    table = ["| given | means |", "|---|---|", *rows, ""] if rows else []
    return [f"## `{name}`", "", text, "", *table]


def row(parameter: Any) -> str:  # noqa: ANN401 - typer's own click
    """Write one option or argument."""
    if parameter.param_type_name == "option":
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        kind = "" if parameter.is_flag else " …"
        needed = " Required." if parameter.required else ""
    else:
        names, kind = (parameter.name or "").upper(), ""
        needed = "" if parameter.required else " May be left out."
    said = getattr(parameter, "help", None) or ""
    return f"| `{names}{kind}` | {said}{needed} |"


if __name__ == "__main__":
    from agent.cli.main import app

    sys.stdout.write(page(app))
