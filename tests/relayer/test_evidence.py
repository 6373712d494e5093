"""Facts about evidence: one form, one hash, and a changed byte names its field."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayer.errors import EvidenceDamaged, EvidenceMissing, StorageFailed
from relayer.evidence import QUOTES, EvidenceStore, canonical_json, check, pack, unpack

FIELDS = {
    "snapshot": {"block": 7, "marks": [{"market": 0, "price_e18": 10**23}]},
    "scores": {"volatility": [0.1, 1e-17, 2.5e300]},
    "policy": {"buffer_ppm": 250_000, "frozen": False, "note": "zwölf"},
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=JSON)
@settings(max_examples=200, deadline=None)
def test_canonical_json__any_value__reads_back_and_is_stable(value: object) -> None:
    encoded = canonical_json(value)  # type: ignore[arg-type]
    assert json.loads(encoded) == value
    assert canonical_json(json.loads(encoded)) == encoded


def test_canonical_json__order_of_keys__does_not_show() -> None:
    assert canonical_json({"b": 1, "a": 2}) == canonical_json({"a": 2, "b": 1}) == b'{"a":2,"b":1}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [{"x": math.nan}]])
def test_canonical_json__no_number__is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [{1: "a"}, {"a": [{None: 1}]}, b"bytes", {"a": {1, 2}}])
def test_canonical_json__what_would_come_back_changed__is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)  # type: ignore[arg-type]


def test_pack__bundle__is_itself_canonical_and_holds_the_digests() -> None:
    digest, bundle = pack(FIELDS)
    parsed = json.loads(bundle)
    assert canonical_json(parsed) == bundle
    assert parsed["digests"] == {
        name: hashlib.sha256(canonical_json(value)).hexdigest() for name, value in FIELDS.items()
    }
    assert hashlib.sha256(canonical_json(parsed["digests"])).digest() == digest


def test_check__untouched__names_nothing() -> None:
    digest, bundle = pack(FIELDS)
    assert check(bundle, digest) == ()


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_check__any_one_byte_changed__is_noticed(data: st.DataObject) -> None:
    digest, bundle = pack(FIELDS)
    place = data.draw(st.integers(0, len(bundle) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != bundle[place]))
    changed = bundle[:place] + bytes([byte]) + bundle[place + 1 :]
    assert check(changed, digest) != ()


def test_check__value_changed__names_its_field_only() -> None:
    digest, bundle = pack(FIELDS)
    assert check(bundle.replace(b"250000", b"250001"), digest) == ("policy",)


def test_check__digest_changed_with_its_value__is_still_noticed() -> None:
    digest, _ = pack(FIELDS)
    _, forged = pack(FIELDS | {"policy": {"buffer_ppm": 0}})
    assert check(forged, digest) == ("(digests)",)


def test_check__field_taken_out__is_named() -> None:
    digest, bundle = pack(FIELDS)
    parsed = json.loads(bundle)
    del parsed["fields"]["scores"]
    assert check(canonical_json(parsed), digest) == ("scores",)


def test_check__broken_json__says_where() -> None:
    digest, bundle = pack(FIELDS)
    (named,) = check(bundle[:-5], digest)
    assert named.startswith(f"(json) byte {len(bundle) - 5}")


@pytest.mark.parametrize("bundle", [b"[]", b"{}", b'{"digests":[],"fields":{}}', b"\xff", b""])
def test_check__no_bundle_at_all__is_named_not_raised(bundle: bytes) -> None:
    (named,) = check(bundle, bytes(32))
    assert named.startswith("(json)")


def test_store__put__comes_back(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    digest = store.put(FIELDS)
    assert store.get(digest) == FIELDS
    assert unpack(store.get_bundle(digest)) == FIELDS


def test_store__put_twice__leaves_one_file_and_no_scraps(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    digest = store.put(FIELDS)
    store.put(FIELDS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [store.bundle_path(digest)]


def test_store__damaged_bundle__is_refused_with_the_field(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    digest = store.put(FIELDS)
    path = store.bundle_path(digest)
    path.write_bytes(path.read_bytes().replace(b'"block":7', b'"block":8'))
    with pytest.raises(EvidenceDamaged, match="differs in snapshot"):
        store.get(digest)


def test_store__of_quotes__is_read_by_every_store_and_pruned_by_age(tmp_path: Path) -> None:
    quotes, rounds = EvidenceStore(tmp_path, QUOTES), EvidenceStore(tmp_path)
    digest, kept = quotes.put(FIELDS), rounds.put({"other": 1})
    assert rounds.get(digest) == FIELDS
    written_s = quotes.bundle_path(digest).stat().st_mtime
    assert rounds.prune(written_s - 10.0) == 0
    assert rounds.prune(written_s + 10.0) == 1
    assert quotes.get(kept) == {"other": 1}
    with pytest.raises(EvidenceMissing, match="or past its retention"):
        rounds.get(digest)


def test_store__unknown_hash__is_missing(tmp_path: Path) -> None:
    with pytest.raises(EvidenceMissing):
        EvidenceStore(tmp_path).get(bytes(32))


def test_store__blob__comes_back_and_is_checked(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    digest = store.put_blob(b"segment")
    assert store.get_blob(digest) == b"segment"
    store.blob_path(digest).write_bytes(b"other")
    with pytest.raises(EvidenceDamaged):
        store.get_blob(digest)


def test_store__folder_cannot_be_written__is_a_storage_failure(tmp_path: Path) -> None:
    occupied = tmp_path / "evidence"
    occupied.write_text("a file where the folder should be")
    with pytest.raises(StorageFailed, match="evidence not written"):
        EvidenceStore(occupied).put(FIELDS)
