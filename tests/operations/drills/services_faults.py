"""What happens to the services, and what ends it: sections of docs/runbooks.md, followed."""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from relayer.signing.server import PATH
from tests.operations.drills import gate as gates
from tests.operations.drills.house import view
from tests.operations.drills.services import LEAKS, Services, configure


def nothing(s: Services) -> None:
    """It fires already."""


def prometheus_dies(s: Services) -> None:
    """Nothing is said while it is dead: what waits for the watchdog notices."""
    s.prometheus.kill()


def prometheus_starts(s: Services) -> None:
    s.prometheus.begin()


def daemon_dies(s: Services) -> None:
    s.daemon.kill()


def daemon_starts(s: Services) -> None:
    s.daemon.start()


def exchanges_apart(s: Services) -> None:
    s.venue(0, "off", factor=0.99)
    s.venue(2, "off", factor=1.01)


def exchange_down(s: Services) -> None:
    s.venue(2, "down")


def two_exchanges_down(s: Services) -> None:
    s.venue(1, "down")
    s.venue(2, "down")


def market_stale(s: Services) -> None:
    s.all_venues("stale", symbol=s.world.markets[-1].symbol)


def exchanges_well(s: Services) -> None:
    for market in (None, *(each.symbol for each in s.world.markets)):
        for number in range(len(s.world.venues)):
            s.venue(number, "ok", **({} if market is None else {"symbol": market}))


def a_price_falls_at_once(s: Services) -> None:
    _fall(s, symbol=s.world.markets[-1].symbol)


def all_prices_fall_at_once(s: Services) -> None:
    _fall(s)


def _fall(s: Services, **where: str) -> None:
    """All exchanges fall together, again and again, faster than the contract's band."""
    factors = [0.82, 1.0]

    def fall() -> None:
        factors.reverse()
        s.all_venues("off", factor=factors[0], **where)

    s.acts.begin("fall", fall, 4.0)


def prices_calm(s: Services) -> None:
    s.acts.end("fall")
    exchanges_well(s)


def signers_die(s: Services) -> None:
    s.processes["signer-2"].kill()
    s.processes["signer-3"].kill()


def signers_start(s: Services) -> None:
    for name in ("signer-2", "signer-3"):
        s.processes[name].start()


def stranger_asks_signer(s: Services) -> None:
    """Somebody who is not the daemon asks for a signature."""

    def ask() -> None:
        url = f"http://127.0.0.1:{s.ports['door-1']}{PATH}"
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=5)

    s.acts.begin("ask", ask, 1.0)


def stranger_is_shut_out(s: Services) -> None:
    s.acts.end("ask")


def signer_sees_other_prices(s: Services) -> None:
    """A signer whose way to two exchanges is cut."""
    nowhere = "http://127.0.0.1:9"
    venues = tuple(
        each
        if number == 0
        else type(each)(
            id=each.id, ccxt_class=each.ccxt_class, url=nowhere, ws_url="ws://127.0.0.1:9"
        )
        for number, each in enumerate(s.world.venues)
    )
    where = view(s.home, "cut-off", venues=venues)
    signer = s.processes["signer-3"]
    signer.restart((*signer.command[:-1], str(where)))


def signer_sees_the_market(s: Services) -> None:
    signer = s.processes["signer-3"]
    signer.restart((*signer.command[:-1], str(s.home)))


def endpoint_down(s: Services) -> None:
    s.second.down = True


def endpoints_down(s: Services) -> None:
    s.first.down = s.second.down = True


def endpoints_well(s: Services) -> None:
    s.first.mend()
    s.second.mend()


def endpoint_lies(s: Services) -> None:
    s.second.fault = gates.lies_about_state


def endpoint_is_taken_out(s: Services) -> None:
    """Out of [network], and the daemon restarted."""
    _restart_with(s, lambda text: text.replace(_spare(s), "spare_rpc_urls = []"))


def endpoint_is_taken_back(s: Services) -> None:
    s.second.mend()
    _restart_with(s, lambda text: text.replace("spare_rpc_urls = []", _spare(s)))


def _spare(s: Services) -> str:
    return f'spare_rpc_urls = ["{s.second.url}"]'


def _restart_with(s: Services, change: Callable[[str], str]) -> None:
    path = s.home / "daemon.toml"
    path.write_text(change(path.read_text()))
    s.daemon.restart()


def endpoints_refuse_logs(s: Services) -> None:
    s.first.fault = s.second.fault = gates.refuses_logs


def watched_down(s: Services) -> None:
    s.watched.down = True


def watched_stands(s: Services) -> None:
    s.watched.fault = gates.stands_still


def watched_well(s: Services) -> None:
    s.watched.mend()


def watcher_dies(s: Services) -> None:
    s.watcher.kill()


def watcher_starts(s: Services) -> None:
    s.watcher.start()


def files_run_out(s: Services) -> None:
    """The limit is lowered to what is nearly open."""
    opened = int(s.prometheus.value('process_open_fds{job="aml"}')[0]["value"][1])
    s.daemon.limit(resource.RLIMIT_NOFILE, opened + opened // 5)


def files_suffice(s: Services) -> None:
    s.daemon.limit(resource.RLIMIT_NOFILE, 4_096)


def host_starves(s: Services) -> None:
    """The daemon gets a fifth of the processor, in pieces."""

    def starve() -> None:
        s.daemon.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        time.sleep(2.5)
        s.daemon.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        time.sleep(0.5)

    s.acts.begin("starve", starve)


def host_is_free(s: Services) -> None:
    s.acts.end("starve")


def disk_full(s: Services) -> None:
    """No file may grow: as on a full disk, each write is refused."""
    s.daemon.limit(resource.RLIMIT_FSIZE, 0)


def disk_free(s: Services) -> None:
    s.daemon.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)


def database_stops(s: Services) -> None:
    s.database.stop()


def database_starts(s: Services) -> None:
    s.database.start()


def second_database(s: Services) -> None:
    """A second instance whose configuration names another database."""
    configure(s, "other")
    path = s.home / "other.toml"
    text = path.read_text()
    mine, other = s.ports["daemon"], s.ports["other"]
    path.write_text(re.sub(rf"port = {mine}\b", f"port = {other}", text))
    s.add("other", s.command("other", "run"), "metrics at").start()
    s.prometheus.scrape("aml", [s.ports["daemon"], other])


def second_database_corrected(s: Services) -> None:
    s.processes["other"].stop()
    s.prometheus.scrape("aml", [s.ports["daemon"]])


def memory_leaks(s: Services) -> None:
    """A process with a planted leak of a megabyte a second."""
    watcher = s.command("daemon", "watcher")[3:]
    path = s.home / "leaking.toml"
    text = (s.home / "daemon.toml").read_text()
    path.write_text(text.replace(f"port = {s.ports['watcher']}", f"port = {s.ports['leaking']}"))
    command = (sys.executable, "-c", LEAKS, *watcher)
    command = tuple(str(path) if each.endswith("daemon.toml") else each for each in command)
    s.add("leaking", command, "metrics at").start()
    s.prometheus.scrape("aml-leaking", [s.ports["leaking"]])


def leak_is_restarted(s: Services) -> None:
    leaking = s.processes["leaking"]
    leaking.restart(
        [e.replace("kept.append(bytearray(1_000_000))", "pass") for e in leaking.command]
    )
