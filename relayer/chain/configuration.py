"""A contract's signers and threshold alone, for whoever has to follow a change of them."""

from __future__ import annotations

from contracts.envelope import Configuration
from relayer.chain import views
from relayer.chain.endpoints import ChainEndpoint


async def read_configuration(endpoint: ChainEndpoint, contract: str) -> Configuration:
    """Read a feed's or an oracle's configuration in one round trip."""
    asked = (views.CONFIG_DIGEST, views.CONFIG_COUNT, views.THRESHOLD, views.SIGNERS)
    answers = await endpoint.batch([view.call(contract, "latest") for view in asked])
    digest, count, threshold, signers = (
        view.read(answer) for view, answer in zip(asked, answers, strict=True)
    )
    return Configuration(
        config_digest=digest, config_count=count, threshold=threshold, signers=signers
    )
