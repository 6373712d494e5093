"""The heads of risk as names and arrays, and back (beside `models.content`)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.accounts import NAMES, AccountRisk
from models.liquidation import SIGNS, FirstPassage, JointCalibration, PassageHead
from models.manifest import Json
from models.risk_heads import RiskHeads

FloatArray = NDArray[np.float64]
SIDES = ("long", "short")
ACCOUNT_NUMBERS = ("intercept", "slope", "shift", "prior", "calm", "risky")


class Taken(Protocol):
    """Named arrays that are each taken once and checked."""

    def floats(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Take finite numbers of this shape."""
        ...

    def number(self, name: str) -> float:
        """Take one finite number."""
        ...


def risk_layout(heads: RiskHeads) -> dict[str, Any]:
    """Return what is not a number."""
    return {
        "passages": [head.horizon_s for head in heads.passages],
        "account_columns": list(NAMES),
        "account_origin": heads.accounts.origin_,
    }


def risk_arrays(heads: RiskHeads) -> dict[str, NDArray[np.generic]]:
    """Return all numbers as named arrays."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for place, head in enumerate(heads.passages):
        for side in SIDES:
            own = getattr(head, side)
            arrays[f"passage{place}/{side}/intercept"] = np.array([own.intercept_])
            arrays[f"passage{place}/{side}/coefficients"] = own.coefficients_
    arrays["joint/intercept"] = np.array([heads.joint.intercept_])
    arrays["joint/slope"] = np.array([heads.joint.slope_])
    for name in ACCOUNT_NUMBERS:
        arrays[f"accounts/{name}"] = np.array([getattr(heads.accounts, f"{name}_")])
    arrays["accounts/coefficients"] = heads.accounts.coefficients_
    return arrays


def risks_from(layout: Json, arrays: Taken) -> RiskHeads:
    """Rebuild the heads; what breaks their promises of sign is a ValueError."""
    if layout["account_columns"] != list(NAMES) or type(layout["account_origin"]) is not str:
        raise ValueError("account risk was trained on other columns than this code computes")
    joint = JointCalibration()
    joint.intercept_ = arrays.number("joint/intercept")
    joint.slope_ = arrays.number("joint/slope")
    if joint.slope_ < 0.0:
        raise ValueError("the calibration of cross accounts turns their order round")
    return RiskHeads(
        passages=tuple(
            PassageHead(
                horizon_s=int(horizon_s),
                long=_passage(f"passage{place}/long/", arrays),
                short=_passage(f"passage{place}/short/", arrays),
            )
            for place, horizon_s in enumerate(layout["passages"])
        ),
        joint=joint,
        accounts=_accounts(layout["account_origin"], arrays),
    )


def _passage(prefix: str, arrays: Taken) -> FirstPassage:
    passage = FirstPassage()
    passage.intercept_ = arrays.number(prefix + "intercept")
    passage.coefficients_ = arrays.floats(prefix + "coefficients", (len(SIGNS),))
    if (passage.coefficients_ * np.array(SIGNS) < 0.0).any():
        raise ValueError(f"{prefix}coefficients would let risk fall as the distance shrinks")
    return passage


def _accounts(origin: str, arrays: Taken) -> AccountRisk:
    risk = AccountRisk()
    risk.origin_ = origin
    for name in ACCOUNT_NUMBERS:
        setattr(risk, f"{name}_", arrays.number(f"accounts/{name}"))
    risk.coefficients_ = arrays.floats("accounts/coefficients", (len(NAMES),))
    return risk
