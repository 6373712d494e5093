"""The agent half's stand-in for signers and delivery: the relay half, through the database."""

from __future__ import annotations

from agent.ground import Ground
from relayer.delivery.outbox import Outbox
from relayer.delivery.settlement import settle_from_outbox
from relayer.delivery.states import Outcome
from relayer.handover.asking import Asking, AskRules, HandoverMetrics
from relayer.handover.proposals import Proposals
from relayer.journal import Journal


class HandingOver(Asking):
    """Asks the relay. Signed actions that an earlier agent kept to itself went with it."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(
            Proposals(ground.database, ground.deployment.chain_id),
            ground.network.clock,
            HandoverMetrics(ground.metrics.registry),
            AskRules(unheard_s=ground.settings.handover.unheard_s),
        )
        self._books = (Journal(ground.database), Outbox(ground.database))
        self._starting = True

    async def resume(self) -> tuple[Outcome, ...]:
        """End what nobody took up in time; what was taken up, the relay brings to its end."""
        outcomes = await super().resume()
        if self._starting:
            await settle_from_outbox(*self._books, starting=True, left=("action",))
            self._starting = False
        return outcomes
