"""Boosted trees as plain arrays: what scikit-learn fitted, evaluated in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeTable:
    """Nodes of all trees, shape (trees, nodes); a leaf is its own child.

    Attributes
    ----------
    feature, left, right : ndarray of int64
        Column that a node compares, and where it sends a row (left when value <= threshold).
    threshold, value : ndarray of float64
        Limit of a node; contribution of a leaf, learning rate included.
    baseline : ndarray of float64, shape (1,)
        What the sum starts from.
    depth : ndarray of int64, shape (1,)
        Steps from a root to the deepest leaf.
    """

    feature: IndexArray
    left: IndexArray
    right: IndexArray
    threshold: FloatArray
    value: FloatArray
    baseline: FloatArray
    depth: IndexArray

    def __post_init__(self) -> None:
        """Refuse tables whose shapes disagree or whose children lie outside."""
        shape = self.feature.shape
        columns = (self.left, self.right, self.threshold, self.value)
        if len(shape) != 2 or any(column.shape != shape for column in columns):
            raise ValueError("node columns must share one shape (trees, nodes)")
        if self.baseline.shape != (1,) or self.depth.shape != (1,):
            raise ValueError("baseline and depth must hold one number")
        if not 0 <= int(self.depth[0]) <= 64:
            raise ValueError("a tree must not be deeper than 64")
        for child in (self.left, self.right):
            if child.size and not 0 <= int(child.min()) <= int(child.max()) < shape[1]:
                raise ValueError("a child lies outside its tree")

    def predict(self, features: FloatArray) -> FloatArray:
        """Sum the leaves that each row reaches; shape (rows,)."""
        trees, nodes = self.feature.shape
        flat = [column.ravel() for column in (self.feature, self.threshold, self.left, self.right)]
        offsets = np.arange(trees, dtype=np.int64)[None, :] * nodes
        rows = np.arange(len(features))[:, None]
        place = np.broadcast_to(offsets, (len(features), trees))
        for _ in range(int(self.depth[0])):
            goes_left = features[rows, flat[0][place]] <= flat[1][place]
            place = offsets + np.where(goes_left, flat[2][place], flat[3][place])
        return np.asarray(self.value.ravel()[place].sum(axis=1) + self.baseline[0])

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def tree_table(fitted: HistGradientBoostingRegressor) -> TreeTable:
    """Copy a fitted scikit-learn boosting of one output without categories into arrays."""
    predictors = [stage[0] for stage in fitted._predictors]  # noqa: SLF001 - no public access
    width = max(len(predictor.nodes) for predictor in predictors)
    shape = (len(predictors), width)
    own = np.broadcast_to(np.arange(width, dtype=np.int64), shape)
    feature, left, right = np.zeros(shape, dtype=np.int64), own.copy(), own.copy()
    threshold, value = np.zeros(shape), np.zeros(shape)
    for tree, predictor in enumerate(predictors):
        nodes = predictor.nodes
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        feature[tree, inner] = nodes["feature_idx"][inner]
        left[tree, inner] = nodes["left"][inner]
        right[tree, inner] = nodes["right"][inner]
        threshold[tree, inner] = nodes["num_threshold"][inner]
        value[tree, : len(nodes)] = nodes["value"]
    deepest = max(int(predictor.nodes["depth"].max()) for predictor in predictors)
    baseline = np.asarray(fitted._baseline_prediction, dtype=np.float64)  # noqa: SLF001
    return TreeTable(
        feature=feature,
        left=left,
        right=right,
        threshold=threshold,
        value=value,
        baseline=baseline.reshape(1),
        depth=np.array([deepest], dtype=np.int64),
    )
