"""`aml agent` and `aml relay`: the two halves of `aml run`, over one database."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.local import DEFAULT_STATE, StateOption
from agent.cli.run import CyclesOption, NetworkOption


def agent(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    cycles: CyclesOption = None,
) -> None:
    """Decide as `run` does, without any key: what is decided is handed over to `aml relay`.

    Both halves need one database ([storage]; on one machine the SQLite file of one --state will
    do), and the contracts must be there (`aml deploy`). docs/halves.md says when this is worth it.

    Example: aml agent --network /etc/aml/agent.toml
    """
    import asyncio

    from agent.cli.session import run_daemon
    from agent.cli.setup import require_world
    from agent.ground import Part

    prepared = require_world(network, state, keys=False)
    asyncio.run(run_daemon(prepared, cycles, Part.AGENT))


def relay(
    network: NetworkOption = "local",
    state: StateOption = DEFAULT_STATE,
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", help="On [metrics] host; 0 takes a free one.")
    ] = 9112,
) -> None:
    """Sign, post and read back what `aml agent` proposes; alone with gas payer and signers.

    It decides nothing. Without keys it is a dry run: everything is answered unsigned.

    Example: aml relay --network /etc/aml/relay.toml
    """
    import asyncio

    from agent.cli.session import run_relay
    from agent.cli.setup import require_world

    asyncio.run(run_relay(require_world(network, state), metrics_port))
