"""The whole configuration of one network: each table beside the code that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from agent.coherence import Fault, disagreements
from agent.derive_settings import DeriveSettings
from agent.impact import ImpactSettings
from agent.judge import Rules
from agent.layers import FOLDER, Layered, layered, origin_of
from agent.positions.actions import ActionSettings
from agent.positions.keeper import KeeperSettings
from agent.positions.levels import WarnSettings
from agent.prices import PriceSettings
from agent.quoting.rules import QuoteSettings
from agent.settings import Section, refusal, table_of, validated
from contracts.book_words import MarketRules
from contracts.price_feed import ClassRules
from contracts.risk_bounds import ClassBounds
from relayer.delivery.fees import FeeRules
from relayer.http.settings import HttpRules
from relayer.market.aggregate import AggregationRules
from relayer.market.feeds import FeedRules
from relayer.market.jumps import JumpRules
from relayer.market.settings import VenueSettings

__all__ = ["FOLDER", "Settings", "load_settings", "settings_of"]

ADDRESS = r"^0x[0-9a-fA-F]{40}$"


class NetworkSettings(Section):
    """Which chain; a local one brings its endpoint, venues, keys and markets itself."""

    name: str
    chain_id: int | None = None
    rpc_url: str | None = None
    spare_rpc_urls: tuple[str, ...] = ()  # asked too: compared with, and next in line
    witness_rpc_urls: tuple[str, ...] = ()  # of others: asked when the contracts' sums differ


class MetricsSettings(Section):
    """Where Prometheus scrapes."""

    host: str = "127.0.0.1"
    port: int = Field(default=9108, ge=0, le=65_535)


class WatcherSettings(Section):
    """The independent look at the chain (`relayer.watcher`); it should have its own endpoint."""

    rpc_url: str | None = None
    port: int = Field(default=9110, ge=0, le=65_535)
    every_s: float = Field(default=5.0, gt=0, le=300)


class LogSettings(Section):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class TracingSettings(Section):
    """Where spans of turns go; without this table nowhere. Needs the extra `tracing`."""

    otlp_url: str = Field(pattern=r"^https?://")  # an OTLP/HTTP collector's address for traces


class HttpSettings(Section):
    """Where interfaces are answered; without this table nowhere."""

    host: str = "127.0.0.1"
    port: int = Field(default=9109, ge=0, le=65_535)
    # Whose pages a browser lets ask, exactly; a star or a path would let in others.
    origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/*\s]+$")], ...] = ()
    limits: Annotated[Any, table_of(HttpRules)] = HttpRules()


class CycleSettings(Section):
    """How often parameters are decided."""

    every_s: int = Field(default=60, ge=1)


class ModelSettings(Section):
    """Which model is in service: a folder pins one, else the registry's champion is followed.

    A registry without a promotion means the model that ships with the package.
    """

    folder: Path | None = None
    registry: Path = Path(".aml/models")
    hash: str | None = Field(default=None, pattern=r"^(0x)?[0-9a-f]{64}$")


class FirstValues(Section):
    """The owner's first values for a market of a class; expired until a signed update."""

    cap_e2: int = Field(ge=100)
    open_interest_cap_usdc: int = Field(gt=0)
    size_scale_usdc: int = Field(gt=0)
    spread_ppm: int = Field(ge=0)


class ClassSettings(Section):
    """What a class of markets starts with; `margin` is for the engine, where one is deployed."""

    rules: Annotated[Any, table_of(ClassRules)]
    bounds: Annotated[Any, table_of(ClassBounds)]
    first: FirstValues
    margin: Annotated[Any, table_of(MarketRules)] = None


class DeploymentSettings(Section):
    """What `aml deploy` puts on the chain."""

    owner: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{40}$")
    guardian: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{40}$")
    timelock_s: int = Field(ge=3_600)
    price_threshold: int = Field(ge=1, le=16)
    risk_threshold: int = Field(ge=1, le=16)
    pool_cooldown_s: int | None = Field(default=None, ge=3_600, le=2_592_000)
    token: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{40}$")  # USDC, 6 decimals
    classes: dict[str, ClassSettings]


class ListingSettings(Section):
    """How one venue lists a market."""

    symbol: str
    quote_currency: str = "USDT"
    multiplier: int = Field(default=1, ge=1)


class MarketSettings(Section):
    """One market: its class, and its listing at each venue."""

    symbol: str
    class_id: int = Field(ge=1, le=7)
    listings: dict[str, ListingSettings]


class KeySettings(Section):
    """Where the keys are (`relayer.signing.keys_source`); each role has its own, none is here."""

    password_file: str | None = None
    gas_payer: str
    price_signers: tuple[str, ...] = ()  # none where signers are processes of their own
    risk_signers: tuple[str, ...] = ()
    guardian: str | None = None
    deployer: str | None = None


class SignerPeerSettings(Section):
    """One signer process: where it is asked, who answers there, and whose signatures count."""

    url: str = Field(pattern=r"^https?://[^/]+/?$")
    transport: str | None = Field(default=None, pattern=ADDRESS)
    price: str | None = Field(default=None, pattern=ADDRESS)
    risk: str | None = Field(default=None, pattern=ADDRESS)


class OwnSignerSettings(Section):
    """On a signer's own host only: its keys, and the endpoint that it sees the chain through."""

    price_key: str
    risk_key: str
    transport_key: str
    rpc_url: str | None = None


class SignersSettings(Section):
    """Signers in processes of their own; without this table they are in the daemon's."""

    peers: tuple[SignerPeerSettings, ...] = Field(min_length=1, max_length=16)
    relays: tuple[Annotated[str, Field(pattern=ADDRESS)], ...] = ()  # whose proposals are judged
    relay_key: str | None = None  # on the daemon's host only
    own: OwnSignerSettings | None = None
    password_file: str | None = None
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    hedge_after_s: float = Field(default=1.0, gt=0, le=60)


class StorageSettings(Section):
    """Where journal and outbox are kept: SQLite in the state folder, unless a URL is named."""

    url: str | None = Field(default=None, pattern=r"^postgresql(\+pg8000)?://[^/]*/[^/]+$")
    password_file: str | None = None


class PayerSettings(Section):
    """When the account that pays gas is called short, in the log (`agent.payer`)."""

    every_s: float = Field(default=60.0, gt=0, le=3_600)
    warn_days: float = Field(default=3.0, ge=0)
    warn_ether: float = Field(default=0.0, ge=0)


class LeaseSettings(Section):
    """Which of several daemons on one PostgreSQL sends (`relayer.lease`)."""

    heartbeat_s: float = Field(default=1.0, gt=0, le=60)
    lasts_s: float = Field(default=4.0, gt=0, le=600)
    instance: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,32}$")  # its own files' name


class HandoverSettings(Section):
    """How `aml agent` hands over to `aml relay` (`relayer.handover`); `run` is both in one."""

    payer: str | None = Field(default=None, pattern=ADDRESS)  # the relay's account, for the agent
    unheard_s: float = Field(default=15.0, gt=0, le=300)  # then nobody seems to be there


class Settings(Section):
    """Everything that a daemon is told."""

    network: NetworkSettings
    rules: Rules
    metrics: MetricsSettings = MetricsSettings()
    watcher: WatcherSettings = WatcherSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings | None = None
    http: HttpSettings | None = None
    quotes: QuoteSettings = QuoteSettings()
    cycle: CycleSettings = CycleSettings()
    prices: PriceSettings = PriceSettings()
    marks: Annotated[Any, table_of(AggregationRules)] = AggregationRules()
    feeds: Annotated[Any, table_of(FeedRules)] = FeedRules()
    jumps: Annotated[Any, table_of(JumpRules)] = JumpRules()
    fees: Annotated[Any, table_of(FeeRules)] = FeeRules()
    model: ModelSettings = ModelSettings()
    deployment: DeploymentSettings | None = None
    venues: tuple[VenueSettings, ...] = ()
    markets: tuple[MarketSettings, ...] = ()
    keys: KeySettings | None = None
    signers: SignersSettings | None = None
    derive: DeriveSettings = DeriveSettings()
    storage: StorageSettings = StorageSettings()
    lease: LeaseSettings | None = None
    handover: HandoverSettings = HandoverSettings()
    payer: PayerSettings = PayerSettings()
    keeper: KeeperSettings = KeeperSettings()
    actions: ActionSettings = ActionSettings()
    warnings: WarnSettings = WarnSettings()
    impact: ImpactSettings = ImpactSettings()


def load_settings(network: str) -> Settings:
    """Read a network's configuration: one that comes with us, by name, or any file, by path.

    Raises
    ------
    ConfigError
        With every fault of every layer at once.
    """
    return settings_of(layered(network))


def settings_of(layers: Layered) -> Settings:
    """Make settings of merged tables, and hold their parts against each other."""
    origin = partial(origin_of, layers.origins)
    settings: Settings = validated(Settings, layers.tables, source=layers.source, origin=origin)
    venues = {venue.id for venue in settings.venues}
    classes = {str(number) for number in settings.rules.policy.classes}
    faults = [*disagreements(settings, settings.markets, venues, classes), *_quorums(settings)]
    if faults:
        raise refusal(layers.source, faults, origin)
    return settings


def _quorums(settings: Settings) -> Iterator[Fault]:
    """Find thresholds that the signers who are named can never reach."""
    if settings.deployment is None:
        return
    for kind in ("price", "risk"):
        named = _named_signers(settings, kind)
        threshold = getattr(settings.deployment, f"{kind}_threshold")
        if 0 < named < threshold:
            yield ("deployment", f"{kind}_threshold"), too_few(kind, threshold, named)


def _named_signers(settings: Settings, kind: str) -> int:
    """Count the signers of a kind: processes of their own, else keys; 0 where none is named."""
    if settings.signers is not None:
        return len(settings.signers.peers)
    return 0 if settings.keys is None else len(getattr(settings.keys, f"{kind}_signers"))


def too_few(kind: str, threshold: int, signers: int) -> str:
    """Say that a quorum can never come together."""
    return (
        f"{threshold} have to sign, and there are {signers} {kind} signers; "
        "name more [[signers.peers]], or lower it"
    )
