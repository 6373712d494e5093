"""Messages: our digest and calldata are the libraries', and what those let pass is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from enum import IntEnum

import eth_abi
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import messages
from contracts.fields import keccak256, split_type
from contracts.messages import CalldataError, Domain, FieldError, MessageError
from contracts.units import LawError
from tests.contracts import strategies

PROVEN = settings(derandomize=True, deadline=None, max_examples=150)
KINDS = (
    messages.PriceRound,
    messages.RiskUpdate,
    messages.PositionTerms,
    messages.PositionAction,
)
HASH = bytes(range(32))
DOMAIN = Domain(chain_id=6343, contract="0x" + "ab" * 20, config_digest=HASH)
ROUND = messages.PriceRound(
    round=7, observed_at_ms=1_000, valid_until_ms=2_000, evidence_hash=HASH, words=(5, 2**255)
)
UPDATE = messages.RiskUpdate(
    round=7,
    observed_at_ms=1_000,
    valid_until_ms=2_000,
    model_hash=HASH[::-1],
    evidence_hash=HASH,
    words=(5, 6, 7),
)
TERMS = messages.PositionTerms(
    observed_at_ms=1_000,
    valid_until_ms=2_000,
    account="0x" + "cd" * 20,
    market=3,
    side=messages.Side.SHORT,
    margin_mode=messages.MarginMode.ISOLATED,
    adjustment=messages.Adjustment.MANAGED,
    max_notional_e6=10**12,
    max_leverage_e2=1_250,
    maintenance_ppm=40_000,
    maintenance_ceiling_ppm=60_000,
    risk_score_ppm=120_000,
    nonce=1,
    model_hash=HASH,
    evidence_hash=HASH,
)
ACTION = messages.PositionAction(
    observed_at_ms=1_000,
    valid_until_ms=2_000,
    position_id=2**200,
    position_version=4,
    kind=messages.ActionKind.DELEVERAGE,
    maintenance_ppm=40_000,
    max_size_e18=10**18,
    price_bound_e18=10**21,
    model_hash=HASH,
    evidence_hash=HASH,
)
EXAMPLES = (ROUND, UPDATE, TERMS, ACTION)
SIGNATURES = (b"\x01" * 64, b"\x02" * 64, b"\x03" * 64)


def library_digest(document):
    """Hash as the usual library does: the independent word on EIP-712."""
    signable = encode_typed_data(full_message=document)
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


def library_calldata(message, signatures):
    """Encode a post_* call with eth_abi, from the function's published signature."""
    name, hashes = (
        ("post_round", "bytes32")
        if isinstance(message, messages.PriceRound)
        else ("post_update", "bytes32,bytes32")
    )
    signature = f"{name}(uint64,uint64,uint64,{hashes},bytes,bytes32[])"
    types = signature[signature.index("(") + 1 : -1].split(",")
    *values, words = [getattr(message, item.name) for item in fields(message)]
    packed = b"".join(word.to_bytes(32, "big") for word in words)
    halves = [half for item in signatures for half in (item[:32], item[32:])]
    return keccak256(signature.encode())[:4] + eth_abi.encode(types, [*values, packed, halves])


class TestDigest:
    """The 32 bytes that signers sign."""

    @PROVEN
    @given(strategies.any_message, strategies.domains)
    def test_digest__any_message__is_the_library_s(self, message, domain):
        assert messages.digest(message, domain) == library_digest(
            messages.typed_data(message, domain)
        )

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
    def test_typed_data__through_json__has_the_same_digest(self, example):
        document = json.loads(json.dumps(messages.typed_data(example, DOMAIN)))
        assert library_digest(document) == messages.digest(example, DOMAIN)

    def test_digest__signed_by_the_library__recovers_the_signer(self):
        key = keccak256(b"a price signer of this test")
        signed = Account.sign_typed_data(key, full_message=messages.typed_data(ROUND, DOMAIN))
        assert signed.message_hash == messages.digest(ROUND, DOMAIN)

    @pytest.mark.parametrize(
        "other",
        [
            replace(DOMAIN, chain_id=6342),
            replace(DOMAIN, contract="0x" + "ac" * 20),
            replace(DOMAIN, config_digest=HASH[::-1]),
        ],
        ids=["chain", "contract", "configuration"],
    )
    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
    def test_digest__other_domain__differs(self, example, other):
        assert messages.digest(example, DOMAIN) != messages.digest(example, other)

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
    def test_digest__any_one_field_changed__differs(self, example):
        changed = [
            replace(example, **{item.name: other(example, item.name)}) for item in fields(example)
        ]
        digests = {messages.digest(item, DOMAIN) for item in [example, *changed]}
        assert len(digests) == len(changed) + 1

    def test_digest__same_domain_written_in_other_case__is_equal(self):
        upper = replace(DOMAIN, contract="0x" + "AB" * 20)
        assert upper == DOMAIN
        assert messages.digest(ROUND, upper) == messages.digest(ROUND, DOMAIN)

    def test_digest__not_one_of_the_four__is_refused(self):
        class Lookalike:
            pass

        with pytest.raises(FieldError, match="none of our four"):
            messages.digest(Lookalike(), DOMAIN)


def other(example, name):
    """Give a valid value of one field that is not the example's."""
    value = getattr(example, name)
    if isinstance(value, IntEnum):
        return next(item for item in type(value) if item is not value)
    if name == "account":
        return "0x" + "ce" * 20
    if isinstance(value, int):
        return value + 1
    return value[::-1]


class TestTypes:
    """The type strings are the design's, and our fields stand under their names."""

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            (messages.PriceRound, "round observedAt validUntil evidenceHash words"),
            (messages.RiskUpdate, "round observedAt validUntil modelHash evidenceHash words"),
            (
                messages.PositionTerms,
                """observedAt validUntil account market side marginMode adjustment maxNotional
                maxLeverage maintenancePpm maintenanceCeilingPpm riskScore nonce modelHash
                evidenceHash""",
            ),
            (
                messages.PositionAction,
                """observedAt validUntil positionId positionVersion kind maintenancePpm maxSize
                priceBound modelHash evidenceHash""",
            ),
        ],
    )
    def test_type__names__are_the_design_s(self, kind, names):
        assert kind.TYPE.startswith(kind.__name__ + "(")
        assert [name for _, name in split_type(kind.TYPE)] == names.split()

    @pytest.mark.parametrize("kind", KINDS)
    def test_type__fields__have_its_names_and_then_their_unit(self, kind):
        for item, (_, name) in zip(fields(kind), split_type(kind.TYPE), strict=True):
            plain = re.sub("(?=[A-Z])", "_", name).lower()
            assert item.name.removeprefix(plain) in {"", "_ms", "_e2", "_e6", "_e18", "_ppm"}

    @pytest.mark.parametrize(
        ("kind", "type_hash"),
        [
            # keccak256 of the type strings in the design; a changed byte here is another protocol.
            (
                messages.PriceRound,
                "6d6288b08cc5964a26381f9def0dbbf775a920ebd7db0f502c43a0897ebd2ac7",
            ),
            (
                messages.RiskUpdate,
                "ca6089fb06d33cf0a3989c6c102b30acb864ad8536f9377f001c1998db40a552",
            ),
            (
                messages.PositionTerms,
                "d113e763d72315eaece836279822b3f24567d20bd1ddd90dc78bc9a7e6b33e77",
            ),
            (
                messages.PositionAction,
                "d688b296031ecf05b0c4686c181c432f0434a1c6f80f6a3b6322afd7a0cc4d4f",
            ),
        ],
    )
    def test_type__hash__is_frozen(self, kind, type_hash):
        assert keccak256(kind.TYPE.encode()).hex() == type_hash

    def test_enumerations__no_choice__is_zero(self):
        kinds = (messages.Side, messages.MarginMode, messages.Adjustment, messages.ActionKind)
        assert all(item != 0 for kind in kinds for item in kind)


class TestStrictness:
    """What the library signs without a word, and everything else that is not exact."""

    @pytest.mark.parametrize(
        ("name", "lenient"),
        [
            ("round", "7"),
            ("round", "0x7"),
            ("words", ["5", str(2**255)]),
            ("evidenceHash", HASH),
        ],
    )
    def test_library__text_for_a_number__signs_the_same(self, name, lenient):
        document = messages.typed_data(ROUND, DOMAIN)
        document["message"][name] = lenient
        assert library_digest(document) == messages.digest(ROUND, DOMAIN)

    def test_library__field_it_does_not_know__signs_the_same(self):
        document = messages.typed_data(ROUND, DOMAIN)
        document["message"]["market"] = 3
        assert library_digest(document) == messages.digest(ROUND, DOMAIN)

    @pytest.mark.parametrize("lenient", [HASH[:31], "0x01", "text", 5])
    def test_library__no_hash_for_a_hash__signs_something(self, lenient):
        document = messages.typed_data(ROUND, DOMAIN)
        document["message"]["evidenceHash"] = lenient
        assert len(library_digest(document)) == 32

    def test_message__field_it_does_not_know__is_refused(self):
        with pytest.raises(TypeError, match="market"):
            replace(ROUND, market=3)

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
    def test_message__any_field_of_another_type__is_refused_by_name(self, example):
        for item in fields(example):
            for wrong in ("5", 5.0, True, None, b"\x01", [1], -(2**300), 2**300):
                with pytest.raises(FieldError, match=rf"^{item.name} "):
                    replace(example, **{item.name: wrong})

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda item: type(item).__name__)
    def test_message__number_just_outside_its_type__is_refused(self, example):
        for item, (kind, _) in zip(fields(example), split_type(example.TYPE), strict=True):
            for wrong in (-1, 2 ** int(kind[4:])) if re.fullmatch("uint[0-9]+", kind) else ():
                with pytest.raises(FieldError, match=rf"^{item.name} "):
                    replace(example, **{item.name: wrong})

    @pytest.mark.parametrize("length", [0, 31, 33])
    def test_message__hash_of_other_length__is_refused(self, length):
        with pytest.raises(FieldError, match=r"evidence_hash has .* exactly 32"):
            replace(ROUND, evidence_hash=bytes(length))

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [("side", 1), ("side", 0), ("margin_mode", messages.Side.LONG), ("adjustment", 1)],
    )
    def test_message__plain_number_for_a_choice__is_refused_with_the_choices(self, name, wrong):
        with pytest.raises(FieldError, match=rf"^{name} is .*; give one of \w+\.\w+, \w+\.\w+"):
            replace(TERMS, **{name: wrong})

    @pytest.mark.parametrize(("example", "limit"), [(ROUND, 64), (UPDATE, 128)])
    def test_message__more_words_than_the_contract_takes__is_refused(self, example, limit):
        assert len(replace(example, words=(1,) * limit).words) == limit
        with pytest.raises(FieldError, match=f"the contract takes {limit}"):
            replace(example, words=(1,) * (limit + 1))

    @pytest.mark.parametrize("name", ["chain_id", "contract", "config_digest"])
    def test_domain__any_field_of_another_type__is_refused_by_name(self, name):
        for wrong in ("5", 5.0, True, None, b"\x01", -1, 2**256):
            with pytest.raises(FieldError, match=rf"^{name} "):
                replace(DOMAIN, **{name: wrong})

    @pytest.mark.parametrize("example", [*EXAMPLES, DOMAIN], ids=lambda item: type(item).__name__)
    def test_value__assignment__is_refused(self, example):
        with pytest.raises(FrozenInstanceError):
            setattr(example, fields(example)[0].name, 1)

    def test_terms__account_in_any_case__is_one_value(self):
        assert replace(TERMS, account="0x" + "CD" * 20) == TERMS
        assert TERMS.account == "0xCdCDCdCdcdcdcdCdcDcDCdcDcDCdCdcdCdcDCDcD"

    def test_errors__all__are_of_the_law(self):
        assert issubclass(MessageError, LawError)
        assert issubclass(FieldError, MessageError)
        assert issubclass(CalldataError, MessageError)


class TestCalldata:
    """The bytes of a post_* call, and back."""

    @PROVEN
    @given(strategies.posted, st.lists(strategies.signatures, max_size=5))
    def test_calldata__any_post__is_the_library_s(self, message, signatures):
        assert messages.calldata(message, signatures) == library_calldata(message, signatures)

    @PROVEN
    @given(strategies.posted, st.lists(strategies.signatures, max_size=16))
    def test_parse_calldata__of_calldata__gives_both_back(self, message, signatures):
        data = messages.calldata(message, signatures)
        assert messages.parse_calldata(data) == (message, tuple(signatures))

    @pytest.mark.parametrize(("example", "limit"), [(ROUND, 64), (UPDATE, 128)])
    def test_parse_calldata__as_long_as_it_may_be__gives_both_back(self, example, limit):
        longest = replace(example, words=tuple(range(limit)))
        data = messages.calldata(longest, SIGNATURES)
        assert messages.parse_calldata(data) == (longest, SIGNATURES)

    @pytest.mark.parametrize("wrong", [b"\x01" * 63, b"\x01" * 65, bytearray(64), "0x" + "01" * 64])
    def test_calldata__signature_not_64_bytes__is_refused_by_its_place(self, wrong):
        with pytest.raises(FieldError, match=r"^signature 1 .*EIP-2098"):
            messages.calldata(ROUND, [SIGNATURES[0], wrong])

    def test_calldata__more_signatures_than_the_contract_takes__is_refused(self):
        with pytest.raises(FieldError, match="takes 16"):
            messages.calldata(ROUND, [SIGNATURES[0]] * 17)

    @pytest.mark.parametrize("example", [TERMS, ACTION], ids=lambda item: type(item).__name__)
    def test_calldata__message_that_nobody_posts__is_refused(self, example):
        with pytest.raises(FieldError, match="is not posted"):
            messages.calldata(example, SIGNATURES)


VALID = tuple(messages.calldata(example, SIGNATURES) for example in (ROUND, UPDATE))


def with_slot(data, index, value):
    """Replace one 32-byte argument slot of a call."""
    start = 4 + 32 * index
    return data[:start] + value.to_bytes(32, "big") + data[start + 32 :]


def parses_or_refuses(data):
    """Parse hostile bytes: either refused as ours, or exactly what `calldata` makes."""
    try:
        message, signatures = messages.parse_calldata(data)
    except CalldataError:
        return
    assert messages.calldata(message, signatures) == data


class TestParseCalldata:
    """Calls that anyone could have put on the chain."""

    @PROVEN
    @given(st.binary(max_size=400))
    def test_parse_calldata__noise__is_refused_or_canonical(self, noise):
        parses_or_refuses(noise)

    @PROVEN
    @given(st.sampled_from(VALID), st.lists(strategies.unsigned(256) | st.integers(0, 400)))
    def test_parse_calldata__noise_in_our_call__is_refused_or_canonical(self, data, slots):
        parses_or_refuses(data[:4] + b"".join(slot.to_bytes(32, "big") for slot in slots))

    @settings(PROVEN, max_examples=600)
    @given(st.sampled_from(VALID), st.data())
    def test_parse_calldata__one_byte_changed__is_refused_or_canonical(self, data, draw):
        place = draw.draw(st.integers(0, len(data) - 1))
        changed = bytearray(data)
        changed[place] ^= draw.draw(st.integers(1, 255))
        parses_or_refuses(bytes(changed))

    @PROVEN
    @given(st.sampled_from(VALID), st.data())
    def test_parse_calldata__cut_off__is_refused(self, data, draw):
        end = draw.draw(st.integers(0, len(data) - 1))
        with pytest.raises(CalldataError):
            messages.parse_calldata(data[:end])

    @pytest.mark.parametrize("data", VALID)
    @pytest.mark.parametrize("tail", [b"\x00", bytes(32), b"\x01" * 64])
    def test_parse_calldata__trailing_bytes__is_refused(self, data, tail):
        with pytest.raises(CalldataError):
            messages.parse_calldata(data + tail)

    @pytest.mark.parametrize("data", [b"", b"\x12\x34", bytes(4) + VALID[0][4:], VALID[1][:3]])
    def test_parse_calldata__other_selector__is_refused(self, data):
        with pytest.raises(CalldataError, match="selector"):
            messages.parse_calldata(data)

    @pytest.mark.parametrize("data", VALID)
    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_parse_calldata__padding_not_zero__is_refused(self, data, index):
        with pytest.raises(CalldataError, match="outside 0"):
            messages.parse_calldata(with_slot(data, index, 2**64))

    @pytest.mark.parametrize(("data", "index"), [(VALID[0], 4), (VALID[0], 5), (VALID[1], 5)])
    def test_parse_calldata__other_offsets__is_refused(self, data, index):
        with pytest.raises(CalldataError, match="offsets"):
            messages.parse_calldata(with_slot(data, index, 32))

    def test_parse_calldata__half_a_signature__is_refused(self):
        data = with_slot(VALID[0][:-32], 9, 5)
        with pytest.raises(CalldataError, match="half a signature"):
            messages.parse_calldata(data)

    @pytest.mark.parametrize("count", [65, 2**255])
    def test_parse_calldata__more_words_than_the_contract_takes__is_refused(self, count):
        data = with_slot(VALID[0], 6, count) + bytes(32 * 200)
        with pytest.raises(CalldataError, match="longer than 64"):
            messages.parse_calldata(data)

    @pytest.mark.parametrize("data", [bytearray(VALID[0]), "0x" + VALID[0].hex(), None])
    def test_parse_calldata__not_bytes__is_refused(self, data):
        with pytest.raises(CalldataError, match="must be bytes"):
            messages.parse_calldata(data)


def test_import__messages_and_packing__bring_no_chain_library():
    code = (
        "import sys, contracts.messages, contracts.packing;"
        "print(*sys.modules.keys() & {'web3', 'vyper', 'eth_account', 'eth_abi', 'eth_utils'})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout.split() == []
