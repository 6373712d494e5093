"""A drill on chances of liquidation that do not come true, with planted outcomes.

Whom a daemon watches is known a day later, and its tests need weeks of such days. So positions that
nobody has, and what became of them, are written into the daemon's own database by the class that
the daemon writes with, in the past of the chain's clock. What they were told is what the model that
is in service then would say: the shipped one says what comes, the other a sixth of it. All else is
the daemon's: it settles them, tests, exports, and follows its registry.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from models.artifact import default_artifact, load, save
from models.heads import HORIZONS_S
from models.manifest import TrainedModel
from relayer.chain import deployments
from relayer.errors import StorageFailed
from relayer.outcomes import LIQUIDATION, Liquidated, Outcomes, Watched, keep_liquidations
from relayer.storage import Database
from tests.operations.drills.alone import FACTOR, START, Alone, alone
from tests.operations.drills.house import AML, run
from tests.operations.drills.script import Case, Scene
from tests.operations.drills.server import Prometheus

PLANTED_EVERY_S = 1.0  # one look
APART_MS = 4 * 3_600_000
FIRST_MS = int(START.timestamp()) * 1_000 - 300 * 86_400_000
POSITIONS, LIQUIDATED = 10, 6
TRUTH, TOO_LOW = LIQUIDATED / POSITIONS, 0.1
NEWEST = 2**62  # of the index: nothing of it is dropped here


@dataclass
class Chances:
    """A daemon with a registry, and the next look that is planted."""

    daemon: Alone
    registry: Path
    rival: str  # says too little
    looks: Iterator[int] = field(default_factory=itertools.count)

    def speaks(self) -> str | None:
        """Say which model is in service, as Prometheus hears it."""
        with contextlib.suppress(OSError):
            found = self.daemon.prometheus.value('aml_model_info{job="aml"}')
            if len(found) == 1:
                return str(found[0]["metric"]["hash"]).removeprefix("0x")
        return None

    def plant(self) -> None:
        """Write one look at some positions, and who of them was liquidated."""
        model = self.speaks()
        if model is not None:
            with contextlib.suppress(StorageFailed):  # the daemon was writing; another look comes
                asyncio.run(self._plant(model, next(self.looks)))

    async def _plant(self, model: str, look: int) -> None:
        made = deployments.read(self.daemon.place / "deployment.json")
        assert made.margin is not None
        owner = {"chain_id": made.chain_id, "contract": made.margin.engine}
        chance = TOO_LOW if model == self.rival else TRUTH
        rows = [_row(model, look, place, chance) for place in range(POSITIONS)]
        ends = [_end(row, place) for place, row in enumerate(rows[:LIQUIDATED], look * POSITIONS)]
        database = Database.open(f"sqlite:///{self.daemon.place / 'aml.db'}")
        try:
            await database.write(lambda c: keep_liquidations(c, owner, ends, NEWEST))
            outcomes = Outcomes(database, made.chain_id, made.margin.engine, made.risk_oracle)
            await outcomes.watched(rows)
        finally:
            await database.close()

    def models(self, *arguments: str) -> None:
        run((*AML, "models", *arguments, "--reason", "drill", "--models", str(self.registry)))


def _row(model: str, look: int, place: int, chance: float) -> Watched:
    return Watched(
        watched_as=f"{look * POSITIONS + place:046x}",
        at_ms=FIRST_MS + look * APART_MS,
        facts={
            "model": model,
            "account": f"0x{place + 1:040x}",
            "market": 0,
            "is_cross": False,
            "side": 1,
            "level": 1,
            "distance": 0.02,
            "deviations": [0.01] * len(HORIZONS_S),
            "chances": [chance] * len(HORIZONS_S),
            "leverage_e2": 2_000,
            "size": "1",
        },
    )


def _end(row: Watched, number: int) -> Liquidated:
    """Liquidate one within every horizon."""
    return Liquidated(
        block_number=1,
        log_index=number,
        block_hash=bytes(32),
        position=row.watched_as,
        watched_as=row.watched_as,
        at_s=row.at_ms // 1_000 + HORIZONS_S[0] // 2,
        facts={"kind": LIQUIDATION, "account": row.facts["account"], "market": 0, "side": 1},
    )


@contextlib.contextmanager
def chances() -> Iterator[tuple[Chances, Prometheus]]:
    with TemporaryDirectory(prefix="aml-drill-") as name:
        folder = Path(name)
        registry = folder / "models"
        shipped = load(default_artifact())
        other = dataclasses.replace(shipped.manifest, seed=99)
        rival = save(TrainedModel(fitted=shipped.scorer._model, manifest=other), registry)
        more = f'[model]\nregistry = "{registry}"\n'
        with alone(folder, folder / "state", more) as daemon:
            made = Chances(daemon, registry, rival.name)
            daemon.acts.begin("looks", made.plant, PLANTED_EVERY_S)
            yield made, daemon.prometheus


def model_is_promoted(s: Chances) -> None:
    s.models("promote", s.rival, "--force")


def model_is_rolled_back(s: Chances) -> None:
    s.models("rollback")


CASES: tuple[Case[Chances], ...] = (
    Case(
        alerts={"AmlChancesOff": {"kind": "low"}},
        fault="a model is promoted whose chances are a sixth of what comes; months of outcomes are "
        "planted in the daemon's database",
        provoke=model_is_promoted,
        mended="`aml models rollback`; then planted outcomes are as the model in service says",
        mend=model_is_rolled_back,
        patience_s=600.0,
    ),
)
SCENE = Scene(name="chances", factor=FACTOR, open=chances, cases=CASES)
