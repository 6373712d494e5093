"""Trees as arrays: the same answers as scikit-learn, and no table that could lead outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from models.trees import TreeTable, tree_table


@pytest.fixture(scope="module")
def fitted() -> tuple[HistGradientBoostingRegressor, np.ndarray]:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((3_000, 6))
    target = np.sin(features[:, 0]) + features[:, 1] * features[:, 2]
    model = HistGradientBoostingRegressor(max_iter=40, max_leaf_nodes=12, random_state=0)
    # threads of several workers fight over two cores; one is quicker here
    with threadpool_limits(1):
        return model.fit(features, target), features


def test_predict__equals_scikit_learn(fitted: tuple[HistGradientBoostingRegressor, np.ndarray]):
    model, features = fitted
    assert tree_table(model).predict(features) == pytest.approx(model.predict(features), abs=1e-12)


def test_predict__row_alone__gives_the_same_bits(
    fitted: tuple[HistGradientBoostingRegressor, np.ndarray],
):
    table, features = tree_table(fitted[0]), fitted[1][:50]
    together = table.predict(features)
    assert [table.predict(row[None, :])[0] for row in features] == together.tolist()


def test_table__child_outside_its_tree__is_refused(
    fitted: tuple[HistGradientBoostingRegressor, np.ndarray],
):
    table: TreeTable = tree_table(fitted[0])
    outside = table.left.copy()
    outside[0, 0] = table.left.shape[1]
    with pytest.raises(ValueError, match="outside"):
        replace(table, left=outside)


def test_table__shapes_that_disagree__are_refused(
    fitted: tuple[HistGradientBoostingRegressor, np.ndarray],
):
    table = tree_table(fitted[0])
    with pytest.raises(ValueError, match="shape"):
        replace(table, value=table.value[:, 1:])


def test_table__endless_depth__is_refused(
    fitted: tuple[HistGradientBoostingRegressor, np.ndarray],
):
    with pytest.raises(ValueError, match="deeper"):
        replace(tree_table(fitted[0]), depth=np.array([65]))
