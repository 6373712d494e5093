"""A run without keys: everything is decided and recorded, nothing is signed or posted."""

from __future__ import annotations

from relayer.delivery.calls import ContractCall
from relayer.delivery.states import Failed, FailureReason, Outcome
from relayer.errors import Misconfigured
from relayer.signing.values import NoQuorum, Proposal, SignedMessage


class DryRun:
    """Stands where signers and delivery stand, and lets nothing through."""

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Ask nobody: there is no key in this process."""
        del proposal
        return NoQuorum(needed=0, given=0, refusals={})

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Refuse: what comes here was signed elsewhere."""
        raise Misconfigured(f"round {signed.posted.round} cannot be posted without keys.gas_payer")

    async def call(self, call: ContractCall) -> Outcome:
        """Say that nobody here could pay for it."""
        detail = f"dry run: a call of the {call.kind} cannot be sent without keys.gas_payer"
        return Failed(reason=FailureReason.NOT_SENT_HERE, detail=detail)

    async def resume(self) -> tuple[Outcome, ...]:
        """Nothing was left open."""
        return ()
