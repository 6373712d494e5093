"""Facts about what travels between daemon and signer: whole messages in, the same values out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.messages import digest
from relayer.errors import BadAnswer
from relayer.signing import wire
from relayer.signing.values import Objection, Proposal, Refusal, RefusalReason, SignerAnswer
from tests.contracts import strategies

proposals = st.builds(Proposal, message=strategies.any_message, domain=strategies.domains)
objections = {
    "reason": st.sampled_from(RefusalReason),
    "field": st.text(max_size=40),
    "detail": st.text(max_size=100),
}
refusals = st.builds(
    Refusal, also=st.lists(st.builds(Objection, **objections), max_size=7).map(tuple), **objections
)
answers = refusals | st.builds(
    SignerAnswer, address=strategies.addresses, signature=strategies.signatures
)


@given(proposals)
def test_proposal__there_and_back__is_the_same_and_hashes_so(proposal: Proposal) -> None:
    back = wire.decode_proposal(wire.encode_proposal(proposal))
    assert back == proposal
    assert back.digest == digest(proposal.message, proposal.domain)


@given(answers)
def test_answer__there_and_back__is_the_same(answer: SignerAnswer | Refusal) -> None:
    assert wire.decode_answer(wire.encode_answer(answer)) == answer


@given(st.binary(max_size=200))
def test_decode__any_bytes__are_refused_in_our_own_words(body: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.decode_proposal(body)
    with pytest.raises(BadAnswer):
        wire.decode_answer(body)


@given(proposals, st.data())
def test_decode__one_byte_changed__is_refused_or_another_message(
    proposal: Proposal, data: st.DataObject
) -> None:
    body = bytearray(wire.encode_proposal(proposal))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    try:
        read = wire.decode_proposal(bytes(body))
    except wire.Malformed:
        return
    assert read == proposal or read.digest != proposal.digest
