"""What a network consists of: endpoint, venues, markets, keys and clock, local or live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import coincurve

from agent.config import MarketSettings, Settings
from agent.errors import ConfigError
from agent.ports import Clock
from contracts.units import MarketId
from relayer.clock import WallClock
from relayer.local.accounts import local_key
from relayer.local.client import LocalClock
from relayer.local.state import WorldState
from relayer.market.settings import VenueSettings
from relayer.market.values import Listing, Market
from relayer.signing.keys import Key
from relayer.signing.keys_source import open_key

LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys of the roles that this process plays; without a gas payer it is a dry run."""

    gas_payer: Key | None
    price_signers: tuple[Key, ...]
    risk_signers: tuple[Key, ...]
    guardian: Key | None = None  # where this process may stop new risk by itself


NO_KEYS = Keyring(gas_payer=None, price_signers=(), risk_signers=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network, ready to be used; `state` is this daemon's own folder on it."""

    name: str
    rpc_url: str
    chain_id: int | None
    venues: tuple[VenueSettings, ...]
    markets: tuple[Market, ...]
    classes: tuple[int, ...]
    keys: Keyring
    clock: Clock
    state: Path
    history: Path
    spare_rpc_urls: tuple[str, ...] = ()
    beside: Path | None = None  # an instance: the folder whose deployment and evidence it shares

    @property
    def for_signers(self) -> Network:
        """The same, with venues that follow nothing but quotes: all that signers look at."""
        venues = tuple(
            venue.model_copy(update={"streams": tuple(x for x in venue.streams if x == "quotes")})
            for venue in self.venues
        )
        return replace(self, venues=venues)

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """Every endpoint, the one that is named first."""
        return (self.rpc_url, *self.spare_rpc_urls)

    @property
    def deployment_file(self) -> Path:
        """Where `aml deploy` writes, and every other command reads, the contracts' addresses."""
        return (self.beside or self.state) / "deployment.json"

    @property
    def evidence(self) -> Path:
        """Where bundles are kept, each under its hash; several daemons may write there."""
        return (self.beside or self.state) / "evidence"

    def instance(self, name: str) -> Network:
        """The same network for one more daemon on this machine, with files of its own."""
        return replace(
            self,
            beside=self.state,
            state=self.state / "instances" / name,
            history=self.history.with_name(f"{self.history.name}-{name}"),
        )


def local_network(world: WorldState, folder: Path) -> Network:
    """Take everything from the local world; each of its chains has a folder of its own."""
    venues = tuple(
        VenueSettings(
            id=venue.id,
            ccxt_class=venue.ccxt_class,
            quote_currency=world.markets[0].quote,
            stablecoin_symbol=None if world.markets[0].quote == "USDC" else "USDC/USDT",
            urls={"rest": venue.url, "ws": venue.ws_url},
            rate_limit_ms=1,
            streams=("quotes", "trades", "liquidations", "books"),
        )
        for venue in world.venues
    )
    markets = tuple(
        Market(
            market=MarketId(market.market),
            symbol=market.base,
            class_id=market.class_id,
            listings=tuple(
                Listing(venue=venue.id, symbol=market.symbol, quote_currency=market.quote)
                for venue in world.venues
            ),
        )
        for market in world.markets
    )
    return Network(
        name=LOCAL,
        rpc_url=world.rpc_url,
        chain_id=world.chain_id,
        venues=venues,
        markets=markets,
        classes=tuple(market.class_id for market in world.markets),
        keys=local_keys(),
        clock=LocalClock(world.control_url),
        state=folder / "chains" / world.instance,
        history=folder / "history" / world.data_id,
    )


def local_keys() -> Keyring:
    """Give the local chain's worthless keys."""
    return Keyring(
        gas_payer=local_role("gas-payer"),
        price_signers=tuple(local_role(f"price-signer-{n}") for n in (1, 2, 3)),
        risk_signers=tuple(local_role(f"risk-signer-{n}") for n in (1, 2, 3)),
        guardian=local_role("guardian"),
    )


def local_role(role: str) -> Key:
    """Give the worthless key of one local role."""
    return Key(coincurve.PrivateKey(local_key(role)))


def live_network(settings: Settings, folder: Path, *, keys: bool = True) -> Network:
    """Take everything from the configuration; without `keys` none is opened.

    Raises
    ------
    ConfigError
        With what the configuration lacks.
    """
    if settings.network.rpc_url is None:
        raise ConfigError("network.rpc_url: is required, except on the local network")
    if not settings.venues or not settings.markets:
        raise ConfigError("venues and markets: at least one [[venues]] and one [[markets]] table")
    return Network(
        name=settings.network.name,
        rpc_url=settings.network.rpc_url,
        spare_rpc_urls=settings.network.spare_rpc_urls,
        chain_id=settings.network.chain_id,
        venues=settings.venues,
        markets=tuple(market_of(index, each) for index, each in enumerate(settings.markets)),
        classes=tuple(market.class_id for market in settings.markets),
        keys=live_keys(settings) if keys else NO_KEYS,
        clock=WallClock(),
        state=folder,
        history=folder / "history",
    )


def market_of(index: int, settings: MarketSettings) -> Market:
    """Turn a market's table into its value; ids follow the order of the tables."""
    return Market(
        market=MarketId(index),
        symbol=settings.symbol,
        class_id=settings.class_id,
        listings=tuple(
            Listing(
                venue=venue,
                symbol=each.symbol,
                quote_currency=each.quote_currency,
                multiplier=each.multiplier,
            )
            for venue, each in settings.listings.items()
        ),
    )


def live_keys(settings: Settings) -> Keyring:
    """Open the key files; no [keys] table means a dry run."""
    files = settings.keys
    if files is None:
        return NO_KEYS
    password = files.password_file
    return Keyring(
        gas_payer=open_key(files.gas_payer, password),
        price_signers=tuple(open_key(path, password) for path in files.price_signers),
        risk_signers=tuple(open_key(path, password) for path in files.risk_signers),
        guardian=None if files.guardian is None else open_key(files.guardian, password),
    )
