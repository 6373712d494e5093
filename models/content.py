"""A fitted model as names and arrays, and back: what is hashed, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.combination import Combination, PooledHar
from models.drift import Reference
from models.heads import Domain, FittedModel, Head, har_places, is_variance
from models.manifest import Arrays, Json
from models.risk_content import risk_arrays, risk_layout, risks_from
from models.tails import ExcursionTail
from models.trees import TreeTable
from models.volatility import MEMBERS, PooledBoosting, PooledLogHar, VolatilityForecast

FloatArray = NDArray[np.float64]
FLOATS, INTEGERS = np.dtype(np.float64), np.dtype(np.int64)
TREE_COLUMNS = ("feature", "left", "right", "threshold", "value", "baseline", "depth")
DRIFT_ARRAYS = ("centre", "scale", "level")
TAIL_NUMBERS = ("centre", "level_centre", "slope", "memory")


class ContentError(Exception):
    """Arrays and layout do not make a model."""


def taken_apart(model: FittedModel) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
    """Return the layout (horizons and column names) and all numbers as named arrays."""
    layout: dict[str, Any] = {
        "heads": [{"horizon_s": head.horizon_s, "names": list(head.names)} for head in model.heads],
        "domain": list(model.domain.names),
    }
    arrays: dict[str, NDArray[np.generic]] = {
        "domain/low": model.domain.low,
        "domain/high": model.domain.high,
    }
    for place, head in enumerate(model.heads):
        arrays |= {f"head{place}/{name}": array for name, array in _head_arrays(head).items()}
    if model.risks is not None:
        layout["risks"] = risk_layout(model.risks)
        arrays |= risk_arrays(model.risks)
    if model.reference is not None:
        layout["drift"] = list(model.reference.names)
        arrays |= {f"drift/{name}": getattr(model.reference, name) for name in DRIFT_ARRAYS}
    return layout, arrays


def put_together(layout: Json, arrays: Arrays) -> FittedModel:
    """Rebuild the model.

    Raises
    ------
    ContentError
        When a name is missing or left over, a shape is wrong or a number is not finite.
    """
    left = _Arrays(arrays)
    try:
        heads = tuple(
            _head(spec["horizon_s"], tuple(spec["names"]), f"head{place}/", left)
            for place, spec in enumerate(layout["heads"])
        )
        names = tuple(layout["domain"])
        risks = risks_from(layout["risks"], left) if "risks" in layout else None
        reference = _reference(tuple(layout["drift"]), left) if "drift" in layout else None
    except (KeyError, TypeError, ValueError) as fault:
        raise ContentError(f"layout and arrays do not fit: {fault}") from fault
    domain = Domain(
        names=names,
        low=left.floats("domain/low", (len(names),)),
        high=left.floats("domain/high", (len(names),)),
    )
    left.nothing_left()
    return FittedModel(heads=heads, domain=domain, risks=risks, reference=reference)


class _Arrays:
    """Named arrays that are each taken once and checked."""

    def __init__(self, arrays: Arrays) -> None:
        self._left = dict(arrays)

    def floats(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Take finite numbers of this shape."""
        array = self._taken(name)
        if array.dtype != FLOATS or array.shape != shape or not np.isfinite(array).all():
            raise ContentError(f"{name} must be finite float64 of shape {shape}")
        return np.asarray(array, dtype=np.float64)

    def number(self, name: str) -> float:
        """Take one finite number."""
        return float(self.floats(name, (1,))[0])

    def tree(self, prefix: str, columns: int) -> TreeTable:
        """Take the columns of a tree table that compares no column beyond `columns`."""
        taken = {name: self._taken(prefix + name) for name in TREE_COLUMNS}
        for name, array in taken.items():
            whole = name in {"feature", "left", "right", "depth"}
            if array.dtype != (INTEGERS if whole else FLOATS):
                raise ContentError(f"{prefix}{name} holds {array.dtype}")
            if not whole and not np.isfinite(array).all():
                raise ContentError(f"{prefix}{name} must be finite")
        feature = taken["feature"]
        if feature.size and not 0 <= int(feature.min()) <= int(feature.max()) < columns:
            raise ContentError(f"{prefix}feature points outside the {columns} columns")
        return TreeTable(**{name: np.asarray(array) for name, array in taken.items()})

    def nothing_left(self) -> None:
        """Refuse arrays that belong to nothing."""
        if self._left:
            raise ContentError(f"unknown arrays: {', '.join(sorted(self._left))}")

    def _taken(self, name: str) -> NDArray[np.generic]:
        if name not in self._left:
            raise ContentError(f"array {name} is missing")
        return self._left.pop(name)


def _reference(names: tuple[str, ...], left: _Arrays) -> Reference:
    columns = {name: left.floats(f"drift/{name}", (len(names),)) for name in DRIFT_ARRAYS}
    return Reference(names=names, **columns)


def _head_arrays(head: Head) -> dict[str, NDArray[np.generic]]:
    forecast = head.forecast
    numbers = {
        "boosting/bias": forecast.boosting_.bias_,
        "har/intercept": forecast.har_.intercept_,
        "har/least": forecast.har_.least_,
        "combination/intercept": forecast.combination_.intercept_,
        "widening": head.widening,
    }
    arrays: dict[str, NDArray[np.generic]] = {
        name: np.array([value], dtype=np.float64) for name, value in numbers.items()
    }
    arrays["har/coefficients"] = forecast.har_.coefficients_
    arrays["combination/weights"] = forecast.combination_.weights_
    for kind, linear in (("linear", forecast.linear_), ("log_har", forecast.log_har_)):
        arrays |= {
            f"{kind}/intercept": np.array([linear.intercept_], dtype=np.float64),
            f"{kind}/bias": np.array([linear.bias_], dtype=np.float64),
            f"{kind}/centre": linear.centre_,
            f"{kind}/scale": linear.scale_,
            f"{kind}/coefficients": linear.coefficients_,
        }
    trees = forecast.boosting_.trees_.arrays()
    arrays |= {f"boosting/trees/{name}": array for name, array in trees.items()}
    for side, tail in (("long", head.long), ("short", head.short)):
        arrays[f"{side}/levels"] = np.array(tail.levels, dtype=np.float64)
        arrays[f"{side}/quantiles"] = tail.quantiles_
        for name in TAIL_NUMBERS:
            value = getattr(tail, f"{name}_")
            arrays[f"{side}/{name}"] = np.array([value], dtype=np.float64)
    return arrays


def _head(horizon_s: int, names: Sequence[str], prefix: str, arrays: _Arrays) -> Head:
    if type(horizon_s) is not int or not all(type(name) is str for name in names):
        raise ContentError("a head needs a whole horizon and names")
    return Head(
        horizon_s=horizon_s,
        names=tuple(names),
        forecast=_forecast(names, prefix, arrays),
        long=_tail(f"{prefix}long/", arrays),
        short=_tail(f"{prefix}short/", arrays),
        widening=arrays.number(f"{prefix}widening"),
    )


def _forecast(names: Sequence[str], prefix: str, arrays: _Arrays) -> VolatilityForecast:
    shape = (len(names),)
    variances, har = tuple(is_variance(name) for name in names), har_places(names)
    forecast = VolatilityForecast(variances=variances, har=har)
    forecast.linear_, forecast.log_har_ = PooledLogHar(), PooledLogHar()
    _fill(forecast.linear_, f"{prefix}linear/", shape, arrays)
    _fill(forecast.log_har_, f"{prefix}log_har/", (len(har),), arrays)
    forecast.boosting_ = PooledBoosting(variances=variances)
    forecast.boosting_.trees_ = arrays.tree(f"{prefix}boosting/trees/", len(names))
    forecast.boosting_.bias_ = arrays.number(f"{prefix}boosting/bias")
    forecast.har_ = PooledHar()
    forecast.har_.coefficients_ = arrays.floats(f"{prefix}har/coefficients", (len(har),))
    forecast.har_.intercept_ = arrays.number(f"{prefix}har/intercept")
    forecast.har_.least_ = arrays.number(f"{prefix}har/least")
    forecast.combination_ = Combination()
    forecast.combination_.weights_ = arrays.floats(f"{prefix}combination/weights", (MEMBERS,))
    forecast.combination_.intercept_ = arrays.number(f"{prefix}combination/intercept")
    return forecast


def _fill(linear: PooledLogHar, prefix: str, shape: tuple[int, ...], arrays: _Arrays) -> None:
    """Give a linear model the numbers that were learned."""
    linear.centre_ = arrays.floats(f"{prefix}centre", shape)
    linear.scale_ = arrays.floats(f"{prefix}scale", shape)
    linear.coefficients_ = arrays.floats(f"{prefix}coefficients", shape)
    linear.intercept_ = arrays.number(f"{prefix}intercept")
    linear.bias_ = arrays.number(f"{prefix}bias")


def _tail(prefix: str, arrays: _Arrays) -> ExcursionTail:
    levels = arrays.floats(f"{prefix}levels", (2,))
    tail = ExcursionTail(levels=tuple(float(level) for level in levels))
    tail.quantiles_ = arrays.floats(f"{prefix}quantiles", (2,))
    for name in TAIL_NUMBERS:
        setattr(tail, f"{name}_", arrays.number(prefix + name))
    return tail


def same_kind(arrays: Mapping[str, object]) -> bool:
    """Whether everything is a float64 or int64 array under a name, as an artifact may hold."""
    return all(
        type(name) is str and type(array) is np.ndarray and array.dtype in (FLOATS, INTEGERS)
        for name, array in arrays.items()
    )
