"""`aml`: every command, and what an error looks like to whoever typed it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from agent.cli import (
    approve,
    check,
    config,
    demo,
    deploy,
    explain,
    guardian,
    halves,
    health,
    keys,
    limits,
    local,
    market,
    models,
    owner,
    quote,
    resume,
    run,
    signer,
    status,
    venues,
    verify,
    watcher,
)
from agent.errors import AgentError

# The faster Keccak must be named before any library chooses one.
os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")

app = typer.Typer(
    name="aml",
    help="The Autonomous Margin Layer: risk agent, oracle relayer and margin contracts.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("agent")(halves.agent)
app.command("relay")(halves.relay)
app.command("signer")(signer.signer)
app.command("watcher")(watcher.watcher)
app.command("health")(health.health)
app.command("deploy")(deploy.deploy)
app.command("quote")(quote.quote)
app.command("status")(status.status)
app.command("check")(check.check)
app.command("venues")(venues.venues)
app.command("verify")(verify.verify)
app.command("explain")(explain.explain)
app.command("limits")(limits.limits)
app.command("approve")(approve.approve)
app.command("halt")(guardian.halt)
app.command("freeze")(guardian.freeze)
app.command("revert")(guardian.revert)
app.command("resume")(resume.resume)
app.add_typer(local.app, name="local")
app.add_typer(market.app, name="market")
app.add_typer(owner.app, name="owner")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(config.app, name="config")

EXIT_FAULT = 1
EXIT_STOPPED = 130


def main() -> None:
    """Run the command; a fault that we know is one sentence, not a traceback."""
    try:
        app(prog_name="aml")  # however it was started: completion goes by this name
    except AgentError as fault:
        fail(str(fault))
    except KeyboardInterrupt:
        stopped()
    except SystemExit as end:
        if end.code == EXIT_STOPPED:
            stopped()
        raise
    except Exception as fault:
        if not is_known(fault):
            raise
        fail(str(fault))


def is_known(fault: Exception) -> bool:
    """Tell whether a fault is one of the packages' own, whose message says what to do."""
    package = type(fault).__module__.split(".")[0]
    return package in {"agent", "relayer", "models", "contracts"}


def stopped() -> NoReturn:
    """Say that Ctrl-C ended it; each file is whole or absent."""
    sys.stderr.write("aml: stopped by Ctrl-C\n")
    sys.exit(EXIT_STOPPED)


def fail(message: str) -> None:
    """Print what is wrong and end with the code that says so."""
    sys.stderr.write(f"aml: {message}\n")
    sys.exit(EXIT_FAULT)


if __name__ == "__main__":
    main()
