"""Which hold a fault of the world means, for the log and the metrics of every loop."""

from __future__ import annotations

from agent.decisions import HoldReason
from relayer.errors import (
    EndpointsDisagree,
    HoldCycle,
    NoRelay,
    NotLeading,
    Retry,
    StorageFailed,
)

_REASONS = (
    (NotLeading, HoldReason.NOT_LEADING),
    (NoRelay, HoldReason.NO_RELAY),
    (EndpointsDisagree, HoldReason.ENDPOINTS_DISAGREE),
    (StorageFailed, HoldReason.STORAGE_FAILED),
)


def reason_of(fault: Retry | HoldCycle) -> str:
    """Name the hold that a fault of the world means."""
    found = (reason for kind, reason in _REASONS if isinstance(fault, kind))
    return next(found, HoldReason.CHAIN_UNREACHABLE).value
