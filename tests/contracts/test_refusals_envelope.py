"""Each refusal of authority and envelope is reached, in both contracts, and changes nothing."""

from __future__ import annotations

import pytest

from contracts.fields import checksummed
from contracts.messages import Domain
from contracts.refusals import Refusal
from tests.contracts.chain import FAST, Contract, RefusedError, RevertedError, RevmEvm
from tests.contracts.world import (
    BOTH,
    GUARDIAN,
    OUTSIDER,
    OWNER,
    POLICY_HASH,
    SIGNERS,
    STRANGER,
    TIMELOCK_S,
    Signer,
)

ZERO = "0x" + "00" * 20
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
ORDER = 2 * HALF_ORDER + 1
OTHER_HASH = b"\x01" * 32


@pytest.fixture(params=BOTH, ids=["feed", "oracle"])
def world(request):
    return request.param()


def scheduled(world, function, *arguments):
    """Launch, announce a call, and wait until it may run."""
    world.send(OWNER, "launch")
    world.schedule(function, *arguments)
    world.wait(TIMELOCK_S)


class TestAuthority:
    """Who may do what, and when."""

    @pytest.mark.parametrize("actor", [STRANGER, GUARDIAN])
    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            ("propose_owner", [STRANGER]),
            ("set_guardian", [STRANGER]),
            ("launch", []),
            ("schedule", [OTHER_HASH]),
            ("cancel_scheduled", [OTHER_HASH]),
            ("add_signer", [STRANGER]),
            ("set_threshold", [1]),
            ("set_policy_hash", [OTHER_HASH]),
            ("set_class", [1, 1]),
            ("set_market_class", [0, 1]),
        ],
    )
    def test_owner_s_functions__others__refuses_not_owner(self, world, actor, function, arguments):
        with world.refuses(Refusal.NOT_OWNER):
            world.send(actor, function, *arguments)

    def test_accept_ownership__not_the_one_proposed__refuses_not_pending_owner(self, world):
        world.send(OWNER, "propose_owner", GUARDIAN)
        with world.refuses(Refusal.NOT_PENDING_OWNER):
            world.send(STRANGER, "accept_ownership")

    def test_accept_ownership__withdrawn__refuses_not_pending_owner(self, world):
        world.send(OWNER, "propose_owner", GUARDIAN)
        world.send(OWNER, "propose_owner", ZERO)
        with world.refuses(Refusal.NOT_PENDING_OWNER):
            world.send(GUARDIAN, "accept_ownership")

    def test_accept_ownership__proposed__owns(self, world):
        world.send(OWNER, "propose_owner", STRANGER)
        assert world.read("owner") == OWNER.lower()
        world.send(STRANGER, "accept_ownership")
        assert checksummed(world.read("owner")) == STRANGER
        assert world.read("pending_owner") == ZERO

    def test_remove_signer__stranger__refuses_not_guardian(self, world):
        with world.refuses(Refusal.NOT_GUARDIAN):
            world.send(STRANGER, "remove_signer", SIGNERS[0].address)

    def test_timelocked__not_announced__refuses_not_scheduled(self, world):
        world.send(OWNER, "launch")
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "set_threshold", 3)

    def test_timelocked__announced_with_other_arguments__refuses_not_scheduled(self, world):
        scheduled(world, "set_threshold", 3)
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "set_threshold", 1)

    def test_timelocked__announced_for_another_function__refuses_not_scheduled(self, world):
        scheduled(world, "set_class", 1, 3)
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "set_market_class", 1, 3)

    def test_timelocked__used_once__refuses_not_scheduled(self, world):
        scheduled(world, "set_threshold", 3)
        world.send(OWNER, "set_threshold", 3)
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "set_threshold", 3)

    def test_timelocked__cancelled__refuses_not_scheduled(self, world):
        scheduled(world, "set_threshold", 3)
        world.send(OWNER, "cancel_scheduled", world.operation("set_threshold", 3))
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "set_threshold", 3)

    def test_cancel_scheduled__nothing_announced__refuses_not_scheduled(self, world):
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "cancel_scheduled", OTHER_HASH)

    def test_timelocked__a_second_early__refuses_timelock_running(self, world):
        scheduled(world, "set_threshold", 3)
        world.wait(-1)
        with world.refuses(Refusal.TIMELOCK_RUNNING):
            world.send(OWNER, "set_threshold", 3)

    def test_timelocked__two_weeks_late__refuses_schedule_lapsed(self, world):
        scheduled(world, "set_threshold", 3)
        world.wait(1_209_601)
        with world.refuses(Refusal.SCHEDULE_LAPSED):
            world.send(OWNER, "set_threshold", 3)

    def test_schedule__twice__refuses_already_scheduled(self, world):
        world.send(OWNER, "schedule", OTHER_HASH)
        with world.refuses(Refusal.ALREADY_SCHEDULED):
            world.send(OWNER, "schedule", OTHER_HASH)

    def test_launch__twice__refuses_already_launched(self, world):
        world.send(OWNER, "launch")
        with world.refuses(Refusal.ALREADY_LAUNCHED):
            world.send(OWNER, "launch")

    def test_timelocked__announced_and_done_before_launch__refuses_not_scheduled(self, world):
        world.schedule("set_threshold", 3)
        world.send(OWNER, "set_threshold", 3)
        world.send(OWNER, "launch")
        world.wait(TIMELOCK_S)
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "set_threshold", 3)

    def test_set_guardian__the_owner_itself__needs_no_timelock(self, world):
        world.send(OWNER, "launch")
        world.send(OWNER, "set_guardian", OWNER)
        assert checksummed(world.read("guardian")) == OWNER
        with world.refuses(Refusal.NOT_GUARDIAN):
            world.send(GUARDIAN, "remove_signer", SIGNERS[0].address)
        with world.refuses(Refusal.NOT_SCHEDULED):
            world.send(OWNER, "set_guardian", GUARDIAN)

    @pytest.mark.parametrize("function", ["set_guardian", "add_signer"])
    def test_roles__zero__refuses_address_missing(self, world, function):
        with world.refuses(Refusal.ADDRESS_MISSING):
            world.send(OWNER, function, ZERO)


def deployment(**changes):
    """Deploy with other arguments than usual."""
    usual = {
        "owner": OWNER,
        "guardian": GUARDIAN,
        "timelock": TIMELOCK_S,
        "signers": [signer.address for signer in SIGNERS],
        "threshold": 2,
        "policy_hash": POLICY_HASH,
    }
    return list({**usual, **changes}.values())


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"owner": ZERO}, Refusal.ADDRESS_MISSING),
        ({"guardian": ZERO}, Refusal.ADDRESS_MISSING),
        ({"timelock": 3_599}, Refusal.TIMELOCK_OUT_OF_RANGE),
        ({"timelock": 2_592_001}, Refusal.TIMELOCK_OUT_OF_RANGE),
        ({"threshold": 0}, Refusal.THRESHOLD_OUT_OF_RANGE),
        ({"threshold": 5}, Refusal.THRESHOLD_OUT_OF_RANGE),
        ({"signers": [ZERO]}, Refusal.ADDRESS_MISSING),
        ({"signers": [OWNER, OWNER]}, Refusal.SIGNER_EXISTS),
    ],
)
def test_deploy__unsound__refuses_timelock_out_of_range_and_others(world, changes, refusal):
    with pytest.raises(RefusedError) as caught:
        Contract(world.evm, world.name, OWNER, deployment(**changes))
    assert caught.value.refusal is refusal


class TestSignatures:
    """Exactly k registered signers, in order, under this chain, contract and configuration."""

    def test_post__one_signature_missing__refuses_too_few_signatures(self, world):
        message = world.message()
        with world.refuses(Refusal.TOO_FEW_SIGNATURES):
            world.post(message, world.signatures(message, SIGNERS[:1]))

    def test_post__one_signature_more__refuses_too_many_signatures(self, world):
        message = world.message()
        with world.refuses(Refusal.TOO_MANY_SIGNATURES):
            world.post(message, world.signatures(message, SIGNERS[:3]))

    @pytest.mark.parametrize("zero", [slice(0, 32), slice(32, 64), slice(0, 64)])
    def test_post__r_or_s_zero__refuses_zero_signature(self, world, zero):
        message = world.message()
        first, second = world.signatures(message)
        broken = bytearray(second)
        broken[zero] = bytes(zero.stop - zero.start)
        with world.refuses(Refusal.ZERO_SIGNATURE):
            world.post(message, [first, bytes(broken)])

    def test_post__s_in_the_upper_half__refuses_malleable_signature(self, world):
        message = world.message()
        first, second = world.signatures(message)
        vs = int.from_bytes(second[32:], "big")
        parity, s = vs >> 255, vs & (2**255 - 1)
        high = (ORDER - s) | (1 - parity) << 255
        if ORDER - s >> 255:
            high = 2**255 - 1  # the high form needs the bit that EIP-2098 gives to the parity
        with world.refuses(Refusal.MALLEABLE_SIGNATURE):
            world.post(message, [first, second[:32] + high.to_bytes(32, "big")])

    def test_post__smallest_s_of_the_upper_half__refuses_malleable_signature(self, world):
        message = world.message()
        first, second = world.signatures(message)
        with world.refuses(Refusal.MALLEABLE_SIGNATURE):
            world.post(message, [first, second[:32] + (HALF_ORDER + 1).to_bytes(32, "big")])

    def test_post__r_not_on_the_curve__refuses_unrecoverable_signature(self, world):
        message = world.message()
        first, second = world.signatures(message)
        with world.refuses(Refusal.UNRECOVERABLE_SIGNATURE):
            world.post(message, [first, (5).to_bytes(32, "big") + second[32:]])

    def test_post__outsider_signed__refuses_unknown_signer(self, world):
        message = world.message()
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.post(message, world.signatures(message, [SIGNERS[0], OUTSIDER]))

    def test_post__signed_for_another_chain__refuses_unknown_signer(self, world):
        self.refuse_domain(world, chain_id=1)

    def test_post__signed_for_another_contract__refuses_unknown_signer(self, world):
        self.refuse_domain(world, contract=STRANGER)

    def test_post__signed_for_another_config__refuses_unknown_signer(self, world):
        self.refuse_domain(world, config_digest=OTHER_HASH)

    def refuse_domain(self, world, **changes):
        domain = world.domain()
        plain = {
            "chain_id": domain.chain_id,
            "contract": domain.contract,
            "config_digest": domain.config_digest,
        }
        message = world.message()
        signed = world.signatures(message, domain=Domain(**{**plain, **changes}))
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.post(message, signed)

    @pytest.mark.parametrize(
        ("actor", "function", "arguments"),
        [
            (OWNER, "add_signer", [STRANGER]),
            (GUARDIAN, "remove_signer", [SIGNERS[3].address]),
            (OWNER, "set_policy_hash", [OTHER_HASH]),
            (OWNER, "set_market_class", [0, 1]),
        ],
    )
    def test_post__signed_before_a_change_of_configuration__refuses_unknown_signer(
        self, world, actor, function, arguments
    ):
        message = world.message()
        signed = world.signatures(message)
        world.send(actor, function, *arguments)
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.post(message, signed)

    def test_post__message_changed_after_signing__refuses_unknown_signer(self, world):
        message = world.message()
        changed = world.message(valid_until_ms=message.valid_until_ms - 1)
        with world.refuses(Refusal.UNKNOWN_SIGNER):
            world.post(changed, world.signatures(message))

    def test_post__one_signer_twice__refuses_duplicate_signer(self, world):
        message = world.message()
        with world.refuses(Refusal.DUPLICATE_SIGNER):
            world.post(message, world.signatures(message, [SIGNERS[0], SIGNERS[0]]))

    def test_post__descending__refuses_signers_not_ascending(self, world):
        message = world.message()
        with world.refuses(Refusal.SIGNERS_NOT_ASCENDING):
            world.post(message, world.signatures(message, [SIGNERS[1], SIGNERS[0]]))

    @pytest.mark.parametrize("pair", [(0, 1), (0, 3), (2, 3)])
    def test_post__any_two_signers_ascending__lands(self, world, pair):
        message = world.message()
        world.post(message, world.signatures(message, [SIGNERS[index] for index in pair]))
        assert world.read("latest_round") == 1

    @pytest.mark.skipif(not FAST, reason="needs an EVM whose chain id a test may set")
    def test_post__replayed_on_a_fork_of_the_chain__refuses_unknown_signer(self, world):
        message = world.message()
        signed = world.signatures(message)
        fork = type(world)(evm=RevmEvm(chain_id=world.evm.chain_id + 1))
        assert fork.address == world.address
        fork.evm.set_time(world.now_s)
        with fork.refuses(Refusal.UNKNOWN_SIGNER):
            fork.post(message, signed)


class TestRounds:
    """Rounds guard against replay; times against yesterday's and tomorrow's messages."""

    def test_post__same_message_again__refuses_stale_round(self, world):
        message = world.message()
        signed = world.signatures(message)
        world.post(message, signed)
        with world.refuses(Refusal.STALE_ROUND):
            world.post(message, signed)

    def test_post__round_zero__refuses_stale_round(self, world):
        with world.refuses(Refusal.STALE_ROUND):
            world.post(world.message(round=0))

    def test_post__too_far_ahead__refuses_round_jump(self, world):
        with world.refuses(Refusal.ROUND_JUMP):
            world.post(world.message(round=2**32 + 1))

    def test_post__as_far_ahead_as_allowed__lands(self, world):
        world.post(world.message(round=2**32))
        assert world.read("latest_round") == 2**32

    def test_post__no_words__refuses_no_whole_words(self, world):
        with world.refuses(Refusal.NO_WHOLE_WORDS):
            world.post(world.message(words=()))

    def test_post__part_of_a_word__refuses_no_whole_words(self, world):
        hashes = [OTHER_HASH] * (1 if world.name == "PriceFeed" else 2)
        function = "post_round" if world.name == "PriceFeed" else "post_update"
        with world.refuses(Refusal.NO_WHOLE_WORDS):
            world.send(STRANGER, function, 1, 0, 0, *hashes, bytes(33), [])

    def test_post__more_words_than_fit__is_reverted(self, world):
        limit = 64 if world.name == "PriceFeed" else 128
        hashes = [OTHER_HASH] * (1 if world.name == "PriceFeed" else 2)
        function = "post_round" if world.name == "PriceFeed" else "post_update"
        with pytest.raises(RevertedError):
            world.send(STRANGER, function, 1, 0, 0, *hashes, bytes(32 * limit + 32), [])

    def test_post__observed_tomorrow__refuses_from_the_future(self, world):
        with world.refuses(Refusal.FROM_THE_FUTURE):
            world.post(world.message(observed_at_ms=world.now_ms + 2_001))

    def test_post__observed_yesterday__refuses_observation_too_old(self, world):
        age_ms = 60_001 if world.name == "PriceFeed" else 600_001
        with world.refuses(Refusal.OBSERVATION_TOO_OLD):
            world.post(world.message(observed_at_ms=world.now_ms - age_ms))

    def test_post__after_its_end__refuses_expired(self, world):
        with world.refuses(Refusal.EXPIRED):
            world.post(world.message(valid_until_ms=world.now_ms - 1))

    def test_post__ends_before_it_was_observed__refuses_expired(self, world):
        times = {"observed_at_ms": world.now_ms + 1_000, "valid_until_ms": world.now_ms + 999}
        with world.refuses(Refusal.EXPIRED):
            world.post(world.message(**times))

    def test_post__valid_for_too_long__refuses_validity_too_long(self, world):
        longest_ms = 120_000 if world.name == "PriceFeed" else 40_950_000
        with world.refuses(Refusal.VALIDITY_TOO_LONG):
            world.post(world.message(valid_until_ms=world.now_ms + longest_ms + 1))

    @pytest.mark.parametrize("now_s", [1, 1_262_304_000, 1_262_304_065, 2_371_851_522])
    def test_post__time_that_storage_cannot_count__refuses_observation_out_of_range(
        self, world, now_s
    ):
        world.evm.set_time(now_s)
        with world.refuses(Refusal.OBSERVATION_OUT_OF_RANGE):
            world.post(world.message())

    def test_post__first_moment_that_storage_can_count__lands(self, world):
        world.evm.set_time(1_262_304_066)
        world.post(world.message())
        assert world.read("latest_round") == 1


class TestSigners:
    """The set of signers never falls below the threshold nor grows without end."""

    def test_add_signer__registered__refuses_signer_exists(self, world):
        with world.refuses(Refusal.SIGNER_EXISTS):
            world.send(OWNER, "add_signer", SIGNERS[0].address)

    def test_remove_signer__unknown__refuses_signer_missing(self, world):
        with world.refuses(Refusal.SIGNER_MISSING):
            world.send(GUARDIAN, "remove_signer", STRANGER)

    def test_remove_signer__at_the_threshold__refuses_below_threshold(self, world):
        world.send(GUARDIAN, "remove_signer", SIGNERS[0].address)
        world.send(GUARDIAN, "remove_signer", SIGNERS[2].address)
        with world.refuses(Refusal.BELOW_THRESHOLD):
            world.send(GUARDIAN, "remove_signer", SIGNERS[1].address)
        assert {checksummed(a) for a in world.read("signers")} == {
            SIGNERS[1].address,
            SIGNERS[3].address,
        }

    @pytest.mark.parametrize("threshold", [0, 5, 2**64])
    def test_set_threshold__impossible__refuses_threshold_out_of_range(self, world, threshold):
        with world.refuses(Refusal.THRESHOLD_OUT_OF_RANGE):
            world.send(OWNER, "set_threshold", threshold)

    def test_add_signer__seventeenth__refuses_too_many_signers(self, world):
        for index in range(12):
            world.send(OWNER, "add_signer", Signer(f"more {index}").address)
        with world.refuses(Refusal.TOO_MANY_SIGNERS):
            world.send(OWNER, "add_signer", STRANGER)
