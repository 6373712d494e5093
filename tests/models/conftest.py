"""A small model, trained once for all tests of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.artifact import default_artifact, load
from models.manifest import TrainedModel
from models.scorer import Scorer
from tests.models.fakes import small_model

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def training(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TrainedModel, list[tuple[str, int, int]]]:
    """The small model, and what its training told about its progress."""
    told: list[tuple[str, int, int]] = []
    folder = tmp_path_factory.mktemp("candles")
    return small_model(folder, lambda *step: told.append(step)), told


@pytest.fixture(scope="session")
def trained(training: tuple[TrainedModel, list[tuple[str, int, int]]]) -> TrainedModel:
    return training[0]


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return load(default_artifact()).scorer


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the recorded candles of ../shared/data are absent")
    return SHARED
