"""The drills on the services: each fault, the alerts that it raises, and what mends it."""

from __future__ import annotations

from tests.operations.drills import services_faults as do
from tests.operations.drills.script import Case, Scene
from tests.operations.drills.services import FACTOR, Services, services

DAEMON = {"job": "aml"}

CASES: tuple[Case[Services], ...] = (
    Case(
        alerts={"AmlWatchdog": {}},
        fault="none: it always fires",
        provoke=do.nothing,
        mended="it ends with Prometheus alone, which is killed and started",
        mend=do.prometheus_dies,
        after=do.prometheus_starts,
        always=True,
    ),
    Case(
        alerts={"AmlVenuesDisperse": {}},
        fault="one exchange quotes 1 % below the second, another 1 % above it",
        provoke=do.exchanges_apart,
        mended="they quote alike again",
        mend=do.exchanges_well,
    ),
    Case(
        alerts={"AmlVenueLost": {}, "AmlFewVenues": {}},
        fault="an exchange drops every connection",
        provoke=do.exchange_down,
        mended="the exchange answers again",
        mend=do.exchanges_well,
    ),
    Case(
        alerts={"AmlNoEffectiveCycle": {}, "AmlNoPriceRound": {}},
        fault="two of three exchanges drop every connection",
        provoke=do.two_exchanges_down,
        mended="they answer again",
        mend=do.exchanges_well,
    ),
    Case(
        alerts={"AmlItemsSkipped": {}},
        fault="one market falls by 18 % at all exchanges, and rises again, every few seconds",
        provoke=do.a_price_falls_at_once,
        mended="its price moves within the contract's band again",
        mend=do.prices_calm,
    ),
    Case(
        alerts={"AmlSignerSilent": {}, "AmlQuorumThin": {}, "AmlNoQuorum": {}},
        fault="two of three signers are killed",
        provoke=do.signers_die,
        mended="both are started",
        mend=do.signers_start,
    ),
    Case(
        alerts={"AmlSignerAttacked": {}},
        fault="a stranger asks a signer for a signature",
        provoke=do.stranger_asks_signer,
        mended="the stranger is shut out",
        mend=do.stranger_is_shut_out,
    ),
    Case(
        alerts={"AmlSignersDisagree": {}},
        fault="a signer is cut off from two of three exchanges",
        provoke=do.signer_sees_other_prices,
        mended="its way to them is mended, and it is restarted",
        mend=do.signer_sees_the_market,
    ),
    Case(
        alerts={"AmlEndpointOut": {}},
        fault="the second endpoint answers 503",
        provoke=do.endpoint_down,
        mended="it answers again",
        mend=do.endpoints_well,
    ),
    Case(
        alerts={"AmlEndpointFaults": {}},
        fault="both endpoints answer 503",
        provoke=do.endpoints_down,
        mended="they answer again",
        mend=do.endpoints_well,
    ),
    Case(
        alerts={"AmlEndpointsDiffer": {}},
        fault="the second endpoint changes a bit of what contracts say",
        provoke=do.endpoint_lies,
        mended="it is taken out of `[network]`, and the daemon is restarted",
        mend=do.endpoint_is_taken_out,
        after=do.endpoint_is_taken_back,
    ),
    Case(
        alerts={"AmlIndexBehind": {}},
        fault="both endpoints refuse every range of logs",
        provoke=do.endpoints_refuse_logs,
        mended="they give logs again",
        mend=do.endpoints_well,
    ),
    Case(
        alerts={"AmlDeliveriesFail": {}},
        fault="all markets fall by 18 % at all exchanges, and rise again, every few seconds: the "
        "contract refuses each round",
        provoke=do.all_prices_fall_at_once,
        mended="prices move within the contract's band again",
        mend=do.prices_calm,
    ),
    Case(
        alerts={"AmlFilesRunOut": DAEMON},
        fault="the daemon's limit of open files is lowered to little above what is open",
        provoke=do.files_run_out,
        mended="the limit is raised",
        mend=do.files_suffice,
    ),
    Case(
        alerts={"AmlLoopLag": {}},
        fault="the host gives the daemon a sixth of a processor, in pieces",
        provoke=do.host_starves,
        mended="the daemon has a processor again",
        mend=do.host_is_free,
    ),
    Case(
        alerts={"AmlStorageFailed": {}},
        fault="no file of the daemon may grow, as on a full disk",
        provoke=do.disk_full,
        mended="there is space again",
        mend=do.disk_free,
    ),
    Case(
        alerts={
            "AmlPriceOld": {},
            "AmlOnChainPriceOld": {},
            "AmlParametersOld": {},
            "AmlOnChainParametersExpire": {},
            "AmlHoldsLast": {},
        },
        fault="one market stands still at all exchanges",
        provoke=do.market_stale,
        mended="it trades again",
        mend=do.exchanges_well,
    ),
    Case(
        alerts={"AmlNobodyLeads": DAEMON},
        fault="PostgreSQL is ended",
        provoke=do.database_stops,
        mended="PostgreSQL is started",
        mend=do.database_starts,
    ),
    Case(
        alerts={"AmlTwoLead": DAEMON},
        fault="a second instance is configured with another database",
        provoke=do.second_database,
        mended="it is stopped",
        mend=do.second_database_corrected,
    ),
    Case(
        alerts={"AmlDown": DAEMON, "AmlAbsent": {}},
        fault="the daemon is killed",
        provoke=do.daemon_dies,
        mended="it is started",
        mend=do.daemon_starts,
    ),
)
WATCHER: tuple[Case[Services], ...] = (
    Case(
        alerts={"AmlWatcherBlind": {}},
        fault="the watcher's endpoint answers 503",
        provoke=do.watched_down,
        mended="it answers again",
        mend=do.watched_well,
    ),
    Case(
        alerts={"AmlChainStands": {}},
        fault="the watcher's endpoint shows the same newest block for ever",
        provoke=do.watched_stands,
        mended="it follows the chain again",
        mend=do.watched_well,
    ),
    Case(
        alerts={"AmlWatcherAbsent": {}},
        fault="the watcher is killed",
        provoke=do.watcher_dies,
        mended="it is started",
        mend=do.watcher_starts,
    ),
)
LEAK: tuple[Case[Services], ...] = (
    Case(
        alerts={"AmlMemoryGrows": {"job": "aml-leaking"}},
        fault="a watcher with a planted leak of 1 MB a second",
        provoke=do.memory_leaks,
        mended="it is restarted, without the leak",
        mend=do.leak_is_restarted,
        patience_s=1_500.0,
    ),
)
SCENE = Scene(name="services", factor=FACTOR, open=services, cases=CASES, beside=(WATCHER, LEAK))
