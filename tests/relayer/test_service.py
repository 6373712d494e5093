"""What a real manager's socket hears of a service."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayer.service import Service

pytestmark = pytest.mark.loopback


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end, as sd_notify(3) describes it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    return manager.recv(4_096).decode().split("\n")


def service_of(manager: socket.socket, **more: str) -> Service:
    return Service.of({"NOTIFY_SOCKET": manager.getsockname(), **more})


def test_service__life__is_heard_word_for_word(manager: socket.socket) -> None:
    service = service_of(manager)
    service.ready("six markets\nfrom three venues")
    assert heard(manager) == ["READY=1", "STATUS=six markets from three venues"]
    service.alive()
    assert heard(manager) == ["WATCHDOG=1"]
    service.reloading()
    first, second = heard(manager)
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    service.status("as before")
    assert heard(manager) == ["STATUS=as before"]
    service.stopping()
    assert heard(manager) == ["STOPPING=1"]


def test_service__abstract_socket__is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0aml-test-{os.getpid()}")
        listening.settimeout(5)
        Service.of({"NOTIFY_SOCKET": f"@aml-test-{os.getpid()}"}).alive()
        assert heard(listening) == ["WATCHDOG=1"]


def test_service__watchdog__is_due_at_half_its_time(manager: socket.socket) -> None:
    assert service_of(manager, WATCHDOG_USEC="60000000").period_s == 30.0
    mine = service_of(manager, WATCHDOG_USEC="60000000", WATCHDOG_PID=str(os.getpid()))
    assert mine.period_s == 30.0


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"},
    ],
)
def test_service__no_watchdog_for_us__asks_for_no_sign(
    manager: socket.socket, environment: dict[str, str]
) -> None:
    assert service_of(manager, **environment).period_s is None


@pytest.mark.parametrize("address", ["", "vsock:2:1234"])
def test_service__nobody_listens__says_nothing(address: str) -> None:
    service = Service.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    service.ready("unheard")
    assert service.period_s is None


def test_service__manager_that_does_not_listen__does_not_stop_the_work(
    manager: socket.socket,
) -> None:
    service = service_of(manager)
    for _ in range(20):  # more than its queue holds
        service.alive()
    assert heard(manager) == ["WATCHDOG=1"]


def test_service__manager_gone__goes_on(tmp_path: Path) -> None:
    Service.of({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()
