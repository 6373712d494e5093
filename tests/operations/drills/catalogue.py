"""Which alerts are drilled, and why the others cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.operations.drills.live import SCENE as LIVE
from tests.operations.drills.market import SCENE as MARKET
from tests.operations.drills.money import SCENE as MONEY
from tests.operations.drills.script import Case, Labels, Scene
from tests.operations.drills.services_cases import SCENE as SERVICES

SCENES: tuple[Scene[Any], ...] = (SERVICES, MONEY, MARKET, LIVE)
NOT_DRILLED = {
    "AmlLoopStuck": "each wait of ours has a limit far below the minutes that count as stuck. "
    "Endpoints, exchanges, signers, database and channels are drilled hanging or gone, and none "
    "of them stops a loop. What is left is a system call that never returns, as on a remote disk "
    "that is gone, and takes a kernel's help. The metric is tested with a loop that hangs "
    "(`tests/agent/test_liveness.py`), the rule by promtool.",
    "AmlChancesOff": "each outcome is of positions that were watched a day before, and a test "
    "needs weeks of them. The tests and the metric are run on made-up months "
    "(`tests/agent/positions/test_calibration.py`), the rule by promtool.",
}


_LATER = (
    "its drill was not reached, or had not ended, when the run was ended; the load was 10 to 20."
)
# What is drilled, and has not come to its end yet; the page says so.
UNFINISHED: dict[str, str] = {
    **dict.fromkeys(
        (
            "AmlAbsent",
            "AmlBalanceLow",
            "AmlCyclesLate",
            "AmlDeliveriesFail",
            "AmlDown",
            "AmlDryRun",
            "AmlEndpointFaults",
            "AmlEndpointOut",
            "AmlEndpointsDiffer",
            "AmlFilesRunOut",
            "AmlHoldsLast",
            "AmlIndexBehind",
            "AmlItemsSkipped",
            "AmlKeeperFails",
            "AmlLiquidationsWait",
            "AmlLoopLag",
            "AmlMemoryGrows",
            "AmlNoQuorum",
            "AmlNobodyLeads",
            "AmlOnChainParametersExpire",
            "AmlOnChainPriceOld",
            "AmlParametersOld",
            "AmlPriceOld",
            "AmlQuorumThin",
            "AmlRunwayShort",
            "AmlSignerAttacked",
            "AmlSignerSilent",
            "AmlSignersDisagree",
            "AmlStorageFailed",
            "AmlTwoLead",
            "AmlWarningsStuck",
        ),
        _LATER,
    ),
    "AmlApprovalWaits": (
        "fires, but does not end: the storm goes on during the approval, the impact grows, "
        "and each approval is void. The drill has to calm the storm first."
    ),
    "AmlFeatureDrift": (
        "its drill was not run yet: it plays days of a wild market, and the processors were busy."
    ),
    "AmlModelAlarm": (
        "its drill was not run yet: it plays days of a wild market, and the processors were busy."
    ),
    "AmlNoEffectiveCycle": (
        "fired, and the drill waited for a label that the alert never has. The drill is "
        "mended and was not run again."
    ),
    "AmlNoPriceRound": (
        "fired, and the drill waited for a label that the alert never has. The drill is "
        "mended and was not run again."
    ),
    "AmlRestarting": (
        "provoked, and did not fire in time at a load of 10 to 20 on two processors; not "
        "looked into yet."
    ),
    "AmlRolledBack": (
        "fired after 76 s and ended after 178 s, but the node's clock, which had gone back "
        "with its blocks, was set by hand on the way. The drill does so itself now and was "
        "not run again."
    ),
    "AmlVenueFaults": (
        "counts cycles, more than five in the shortened ten minutes of 20 s; at that load a "
        "cycle took 6 s instead of 2 s, and three were counted. An exchange was down all the "
        "while."
    ),
    "AmlWatcherAbsent": (
        "the process with the planted leak was a watcher too and stood in for the one that "
        "was killed. The drill is mended and was not run again."
    ),
}


def drilled() -> dict[str, str]:
    """Give each alert of the drills with its scene."""
    return {name: scene for scene, case in _cases() for name in case.alerts}


def labels() -> dict[str, Labels]:
    """Give each alert of the drills with the labels that its drill waits for."""
    return {name: wanted for _, case in _cases() for name, wanted in case.alerts.items()}


def _cases() -> Iterator[tuple[str, Case[Any]]]:
    for scene in SCENES:
        for lane in (scene.cases, *scene.beside):
            yield from ((scene.name, case) for case in lane)
