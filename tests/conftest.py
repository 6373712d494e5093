"""What every test shares: no sockets unless a test says that it uses loopback as its user would."""

from __future__ import annotations

import hypothesis
import pytest
import pytest_socket

# Seeded, and without a clock: a slow machine is not a fault in the code.
hypothesis.settings.register_profile("aml", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("aml")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the network for each test; `loopback` and `anvil` tests may reach this machine only."""
    if item.get_closest_marker("loopback") or item.get_closest_marker("anvil"):
        pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)
    else:
        pytest_socket.disable_socket(allow_unix_socket=True)


def pytest_runtest_teardown() -> None:
    """Open the socket module again, so that the next test starts from the same state."""
    pytest_socket.enable_socket()
