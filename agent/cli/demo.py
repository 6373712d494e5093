"""`aml demo`: the whole story on the embedded default, with a summary and an honest exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.demo.stage import Stage

Row = tuple[str, bool, str, float]


def demo(
    state: Annotated[
        Path | None, typer.Option("--state", help="Folder to use; a new one if not given.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the world running.")] = False,
) -> None:
    """Show one decision's whole way on a fresh local chain, and what stops a wrong one.

    Plays candles of our own making, labelled synthetic. Ends by itself; exit code 0 when every
    step came out as it must, 1 otherwise.

    Example: aml demo
    """
    import asyncio
    import tempfile
    from datetime import UTC, datetime

    from agent.cli.session import configure_logging
    from relayer.local import client
    from relayer.local.candles import PLAY_MS

    configure_logging("error")
    folder = state or Path(tempfile.mkdtemp(prefix="aml-demo-"))
    typer.echo(f"state folder {folder}; candles are synthetic, made by us")
    start = datetime.fromtimestamp(PLAY_MS / 1_000 + 3_600, tz=UTC)
    client.start(folder, start_at=start, chain_time=True)
    try:
        rows = asyncio.run(_play(folder))
    finally:
        if not keep:
            client.stop(folder)
    _summarise(rows)
    if not all(passed for _, passed, _, _ in rows):
        raise typer.Exit(1)


async def _play(folder: Path) -> list[Row]:
    """Deploy, build the daemon, and take the steps until one fails."""
    import time

    from agent import app
    from agent.config import load_settings
    from agent.demo.stage import Stage
    from agent.demo.story import STORY
    from agent.deploying import deploy_network
    from agent.network import local_network
    from relayer.local import client
    from relayer.market.jumps import JumpWatch

    settings = load_settings("local")
    acting = settings.actions.model_copy(
        update={"mode": "execute"}
    )  # as an operator switches it on
    free = settings.metrics.model_copy(update={"port": 0})
    settings = settings.model_copy(update={"metrics": free, "http": None, "actions": acting})
    world = client.status(folder).state
    network = local_network(world, folder)
    began = time.monotonic()
    deployment = await deploy_network(network, settings, lambda _: None)
    said = f"PriceFeed {deployment.price_feed}, RiskOracle {deployment.risk_oracle}"
    rows: list[Row] = [("contracts deployed and read back", True, said, time.monotonic() - began)]
    _say(rows[-1])
    async with app.daemon(network, settings, app.load_model(settings)) as running:
        seen = [JumpWatch(rules=settings.jumps)]
        stage = Stage(world=world, daemon=running, settings=settings, say=typer.echo, seen=seen)
        for name, step in STORY:
            began = time.monotonic()
            passed, said = await _take(stage, step)
            rows.append((name, passed, said, time.monotonic() - began))
            _say(rows[-1])
            if not passed:
                break
    return rows


async def _take(stage: Stage, step: object) -> tuple[bool, str]:
    """Take one step; a step that fails says why, and ends the story."""
    from agent.demo.stage import StepFailed
    from agent.errors import AgentError
    from relayer.errors import RelayerError

    try:
        return True, await step(stage)  # type: ignore[operator]
    except (StepFailed, RelayerError, AgentError) as fault:
        return False, f"{type(fault).__name__}: {fault}"


def _say(row: Row) -> None:
    name, passed, said, took_s = row
    typer.echo(f"{'ok    ' if passed else 'FAILED'} {name} ({took_s:.1f} s): {said}")


def _summarise(rows: list[Row]) -> None:
    """Print the summary table."""
    width = max(len(name) for name, *_ in rows)
    typer.echo("")
    typer.echo(f"{'step'.ljust(width)}  result  seconds")
    for name, passed, _, took_s in rows:
        typer.echo(f"{name.ljust(width)}  {'ok' if passed else 'FAILED':<6}  {took_s:7.1f}")
    failed = sum(not passed for _, passed, _, _ in rows)
    total_s = sum(took_s for *_, took_s in rows)
    typer.echo(f"{len(rows) - failed} of {len(rows)} steps ok, {total_s:.0f} s")
