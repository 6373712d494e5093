"""Where interfaces are answered, and how much of it anyone may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRules:
    """Limits of the app; a client is an address, and only so many are remembered.

    Terms cost signatures and a stored bundle, so they have a rate of their own, and one for all
    clients together: addresses are cheap.
    """

    requests_per_minute: int = 600
    terms_per_minute: int = 60
    terms_per_minute_of_all: int = 600
    clients_remembered: int = 10_000
    max_body_bytes: int = 65_536
    timeout_s: int = 10
    max_streams: int = 100

    def __post_init__(self) -> None:
        """Refuse what would let nobody, or everybody, in."""
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
