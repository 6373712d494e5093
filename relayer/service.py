"""What a service says to systemd: ready, alive, reloading, stopping; to nobody where none listens.

The protocol is datagrams on the socket that $NOTIFY_SOCKET names (sd_notify(3)). A watchdog is to
be fed from the progress of the work, never from a timer.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MICROSECONDS: Final = 1_000_000
PATIENCE_S: Final = 0.1  # its queue holds ten datagrams; a full one must not stop the work


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The service manager's end of this process; without an address every word is dropped."""

    address: str | None = None
    watchdog_s: float | None = field(default=None)

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Service:
        """Find who listens, and how often a sign of life is due, in an environment."""
        address = environment.get("NOTIFY_SOCKET") or None
        if address is not None and address[0] not in "/@":
            address = None  # vsock and the like: not this machine's manager
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        due = environment.get("WATCHDOG_USEC", "")
        watchdog_s = int(due) / MICROSECONDS if meant and due.isdigit() and int(due) else None
        return cls(address=address, watchdog_s=watchdog_s)

    @property
    def period_s(self) -> float | None:
        """How often to give a sign of life, so that one may be lost; None: nobody waits for it."""
        return None if self.address is None or self.watchdog_s is None else self.watchdog_s / 2

    def ready(self, status: str) -> None:
        """Say that the service serves from now on, or again after a reload."""
        self._say(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Say in words how it stands, for `systemctl status`."""
        self._say(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Give a sign of life."""
        self._say("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` ends it."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self) -> None:
        """Say that what is under way is being brought to its end."""
        self._say("STOPPING=1")

    def _say(self, text: str) -> None:
        """Send one datagram; a manager that is gone, or does not listen, is no reason to stop."""
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address[0] == "@" else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaking:
            speaking.settimeout(PATIENCE_S)
            try:
                speaking.connect(address)
                speaking.send(text.encode())
            except OSError:
                return


def _line(text: str) -> str:
    return text.replace("\n", " ")
