"""The whole self-test: the file, this machine, the chain, and the venues if asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from prometheus_client import CollectorRegistry

from agent.checks import chain, compared, here
from agent.checks.findings import Finding, Grade, fault, skipped, warning, well
from agent.config import Settings, load_settings
from agent.errors import AgentError
from agent.ground import open_venues
from agent.network import LOCAL, Network, live_network, local_network
from agent.owner.authority import open_office
from relayer.errors import DeploymentWrong, Misconfigured, RelayerError
from relayer.local import client
from relayer.metrics import Metrics, Vocabulary


async def examine(network: str, state: Path, *, venues: bool) -> tuple[Finding, ...]:
    """Look at everything; one fault does not hide the others."""
    try:
        settings = load_settings(network)
    except AgentError as refused:
        parts = ("keys", "model", "disk", "database", "endpoint", "contracts")
        skips = (skipped(part, "the file cannot be used") for part in parts)
        return (fault("config", str(refused), f"aml config check --network {network}"), *skips)
    findings = [well("config", f"{network}: every key is known and fits")]
    held, about_keys = await asyncio.to_thread(here.keys, settings)
    findings += about_keys
    findings += await asyncio.to_thread(lambda: [*here.model(settings), *here.channels(settings)])
    try:
        found = _network(settings, state)
    except (AgentError, RelayerError) as refused:
        mend = f"aml local up --state {state}" if settings.network.name == LOCAL else "see config"
        findings += [fault("endpoint", str(refused), mend), *here.disk(state)]
        return tuple(findings)
    findings += [*here.disk(found.state), *here.database(settings, found.state)]
    place = chain.Place(network=found, settings=settings, held=held, name=network)
    try:
        findings += await _chain(place)
        findings += await _venues(place) if venues else ()
    finally:
        await found.clock.close()
    return tuple(findings)


def _network(settings: Settings, state: Path) -> Network:
    if settings.network.name != LOCAL:
        return live_network(settings, state, keys=False)
    return local_network(client.status(state).state, state)


async def _chain(place: chain.Place) -> list[Finding]:
    """Look at the chain; without it nothing there can be compared."""
    try:
        async with open_office(place.network) as office:
            now_ms = await place.network.clock.now_ms()
            return [
                *await chain.endpoint(place, office, now_ms),
                *await chain.code(place, office),
                *await chain.digests(office),
                *compared.roles(place, office),
                *await compared.limits(place, office),
                *compared.signers(place, office),
                *await chain.balances(place, office),
            ]
    except (Misconfigured, DeploymentWrong) as refused:
        mend = f"aml deploy {place.here}, or bring the deployment file here"
        return [*await chain.bare(place), fault("contracts", str(refused), mend)]
    except RelayerError as refused:
        looked = await chain.bare(place)
        if all(each.grade is not Grade.FAULT for each in looked):  # it fails in between
            looked.append(fault("endpoint", str(refused), f"aml check {place.here}, once more"))
        return [*looked, skipped("contracts", "no endpoint")]


async def _venues(place: chain.Place) -> list[Finding]:
    """Ask every venue for its quotes once."""
    network = place.network.for_signers
    names = tuple(venue.id for venue in network.venues)
    vocabulary = Vocabulary(
        hold_reasons=(),
        refusal_reasons=(),
        signers=(),
        venues=names,
        markets=tuple(market.symbol for market in network.markets),
    )
    async with AsyncExitStack() as stack:
        pool = await open_venues(network, Metrics(CollectorRegistry(), vocabulary), stack)
        quotes = await pool.quotes()
    answered = {quote.venue for quote in quotes.quotes}
    return list(_answers(names, answered, {f.venue: f.detail for f in quotes.faults}, place))


def _answers(
    names: tuple[str, ...], answered: set[str], faults: dict[str, str], place: chain.Place
) -> Iterator[Finding]:
    for name in names:
        if name in answered:
            yield well("venues", f"{name} answers")
        else:
            says = f"{name}: {faults.get(name, 'no quotes')}"
            yield warning("venues", says, f"aml venues {place.here}")
    if len(answered) < place.settings.marks.minimum_venues:
        says = f"{len(answered)} venues answer, a mark needs {place.settings.marks.minimum_venues}"
        yield fault("venues", says, "wait for them, or add [[venues]]")
