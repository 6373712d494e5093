"""Whether signers decide for themselves before they sign, and how near is near enough."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agent.settings import Section, table_of
from relayer.signing.values import Tolerances


class DeriveSettings(Section):
    """Whether signers decide themselves before they sign parameters, and how near is near enough.

    `required`: without an own decision for a market nothing is signed of it. `when_known`: then the
    contract's limits alone are checked there.
    """

    mode: Literal["off", "when_known", "required"] = "when_known"
    wait_s: float = Field(default=3.0, gt=0, le=60)  # below the quorum's timeout
    look_max_age_s: int = Field(default=30, ge=1, le=600)
    # Signer processes count an update's impact in an index of positions of their own.
    positions: bool = True
    together_s: int = Field(default=30, ge=0, le=3_600)  # what passed so lately counts as one cycle
    tolerances: Annotated[Any, table_of(Tolerances)] = Tolerances()
