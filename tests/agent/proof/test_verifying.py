"""Facts about a round's hash: it is worked out again from the message and from the deployment."""

from __future__ import annotations

from dataclasses import replace

from agent.proof.verifying import verify_hash
from contracts.messages import Domain, RiskUpdate, digest
from contracts.units import UnixMs
from relayer.chain.events import BatchEvent, PostedUpdate
from relayer.chain.values import Deployment

FEED, ORACLE = "0x" + "11" * 20, "0x" + "22" * 20
DEPLOYMENT = Deployment(chain_id=7, price_feed=FEED, risk_oracle=ORACLE, block_number=1, markets=())
DOMAIN = Domain(chain_id=7, contract=ORACLE, config_digest=b"\x01" * 32)
MESSAGE = RiskUpdate(
    round=3,
    observed_at_ms=UnixMs(1_000),
    valid_until_ms=UnixMs(2_000),
    model_hash=b"\x02" * 32,
    evidence_hash=b"\x03" * 32,
    words=(5,),
)
POSTED = PostedUpdate(
    event=BatchEvent(
        kind="risk",
        contract=ORACLE,
        round=3,
        observed_at_ms=UnixMs(1_000),
        message_hash=digest(MESSAGE, DOMAIN),
        evidence_hash=MESSAGE.evidence_hash,
        model_hash=MESSAGE.model_hash,
        skipped=(),
    ),
    message=MESSAGE,
    signatures=(),
    sender=FEED,
    tx_hash=b"\x04" * 32,
    block_number=9,
    block_timestamp_s=2,
)


def found(posted: PostedUpdate, domain: Domain = DOMAIN) -> list[str]:
    written = [str(domain.chain_id), domain.contract, domain.config_digest.hex()]
    fields = {"chain": {"domain": written}}
    return [each.field for each in verify_hash(fields, posted, DEPLOYMENT)]


def test_hash__of_what_was_signed__is_the_events() -> None:
    assert found(POSTED) == []


def test_hash__the_event_has_another__is_named() -> None:
    event = replace(POSTED.event, message_hash=b"\x05" * 32)
    assert found(replace(POSTED, event=event)) == ["event.message_hash"]


def test_hash__the_message_is_another__is_named() -> None:
    assert found(replace(POSTED, message=replace(MESSAGE, words=(6,)))) == ["event.message_hash"]


def test_hash__evidence_of_another_configuration_or_contract__is_named() -> None:
    assert found(POSTED, replace(DOMAIN, config_digest=b"\x09" * 32)) == ["event.message_hash"]
    assert found(POSTED, replace(DOMAIN, contract=FEED)) == ["chain.domain[1]"]
