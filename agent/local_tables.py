"""The local world's exchanges as a configuration names them, for a file of an operator's own."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from agent.errors import ConfigError
from agent.network import local_network
from relayer.local.state import WorldState
from relayer.market.settings import VenueSettings
from relayer.market.values import Market


def tables_of(world: WorldState, without: Collection[str] = ()) -> str:
    """Write [[venues]] and [[markets]] of a running world as TOML, some markets left out.

    Raises
    ------
    ConfigError
        With the markets that there are, where one that is to be left out is none of them.
    """
    network = local_network(world, Path())
    known = [market.symbol for market in network.markets]
    strangers = sorted(set(without) - set(known))
    if strangers:
        raise ConfigError(f"--without {strangers[0]}: the exchanges have {', '.join(known)}")
    tables = [_venue(each) for each in network.venues]
    tables += [_market(each) for each in network.markets if each.symbol not in without]
    return "\n".join("\n".join(table) + "\n" for table in tables)


def _venue(venue: VenueSettings) -> Iterator[str]:
    yield "[[venues]]"
    yield f"id = {_text(venue.id)}"
    yield f"ccxt_class = {_text(venue.ccxt_class)}"
    yield f"quote_currency = {_text(venue.quote_currency)}"
    if venue.stablecoin_symbol is not None:
        yield f"stablecoin_symbol = {_text(venue.stablecoin_symbol)}"
    yield f"rate_limit_ms = {venue.rate_limit_ms}"
    yield f"streams = {json.dumps(venue.streams)}"
    urls = ", ".join(f"{name} = {_text(url)}" for name, url in venue.urls.items())
    yield f"urls = {{ {urls} }}"


def _market(market: Market) -> Iterator[str]:
    yield "[[markets]]"
    yield f"symbol = {_text(market.symbol)}"
    yield f"class_id = {market.class_id}"
    yield "[markets.listings]"
    for each in market.listings:
        quoted = f"quote_currency = {_text(each.quote_currency)}"
        yield f"{each.venue} = {{ symbol = {_text(each.symbol)}, {quoted} }}"


def _text(value: str) -> str:
    """Quote a value; names of markets and addresses have nothing that TOML and JSON differ in."""
    return json.dumps(value)
