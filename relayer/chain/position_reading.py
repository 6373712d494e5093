"""One position as the contracts count it now, read through one endpoint."""

from __future__ import annotations

from typing import Any

from contracts.book_words import PositionId, split_position_id
from contracts.fields import checksummed
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin_calls import POSITION_FIELDS, POSITION_VIEW
from relayer.chain.values import Deployment
from relayer.errors import Misconfigured


async def read_position(
    endpoint: ChainEndpoint, deployment: Deployment, identity: int
) -> dict[str, Any]:
    """Read a position by its id, field by field; its size is 0 where there is none.

    Raises
    ------
    Misconfigured
        The deployment has no contracts that hold positions.
    Reverted
        The id names no market of the contracts.
    """
    if deployment.margin is None:
        raise Misconfigured("the deployment has no margin contracts, so nobody has a position")
    account, market, mode = split_position_id(PositionId(identity))
    holder = checksummed(f"0x{account:040x}")
    method, params = POSITION_VIEW.call(deployment.margin.views, "latest", holder, market, mode)
    answer = POSITION_VIEW.read(await endpoint.call(method, *params))
    return dict(zip(POSITION_FIELDS, answer, strict=True))
