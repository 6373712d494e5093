"""Units: each rounding goes where its name says, and a cap and its maintenance stay one tuple."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import units

PROVEN = settings(derandomize=True, deadline=None, max_examples=300)

wide = st.integers(-(2**256), 2**256)
divisors = st.integers(1, 2**128)
amounts = st.integers(0, 2**128)
ratios = st.integers(0, units.PPM)
caps = st.integers(units.ONE_X, units.MAX_CAP_E2)
maintenances = st.integers(763, 500_000)  # what caps from 1x to 655x have


@PROVEN
@given(wide, divisors)
def test_floor_div__any__is_the_next_integer_below(numerator, denominator):
    exact = Fraction(numerator, denominator)
    assert exact - 1 < units.floor_div(numerator, denominator) <= exact


@PROVEN
@given(wide, divisors)
def test_ceil_div__any__is_the_next_integer_above(numerator, denominator):
    exact = Fraction(numerator, denominator)
    assert exact <= units.ceil_div(numerator, denominator) < exact + 1


@PROVEN
@given(wide, divisors)
def test_trunc_div__any__is_the_next_integer_toward_zero(numerator, denominator):
    assert units.trunc_div(numerator, denominator) == int(Fraction(numerator, denominator))


@pytest.mark.parametrize("divide", [units.floor_div, units.ceil_div, units.trunc_div])
@pytest.mark.parametrize("denominator", [0, -1])
def test_division__denominator_not_positive__is_refused(divide, denominator):
    with pytest.raises(units.UnitError, match="above 0"):
        divide(1, denominator)


@PROVEN
@given(amounts, ratios)
def test_ppm__floor_and_ceil__enclose_the_exact_part(amount, ratio):
    exact = Fraction(amount * ratio, units.PPM)
    low, high = units.ppm_floor(amount, ratio), units.ppm_ceil(amount, ratio)
    assert low <= exact <= high
    assert high - low == (exact.denominator != 1)


@PROVEN
@given(st.integers(0, 2**63))
def test_seconds__floor_and_ceil__enclose_the_instant(at_ms):
    low, high = units.seconds_floor(at_ms), units.seconds_ceil(at_ms)
    assert units.milliseconds(low) <= at_ms <= units.milliseconds(high)
    assert high - low == (at_ms % 1000 != 0)


@PROVEN
@given(amounts)
def test_whole_usdc__floor__loses_less_than_one(amount):
    assert 0 <= amount - units.usdc_e6(units.whole_usdc_floor(amount)) < units.USDC


@pytest.mark.parametrize(
    ("cap_e2", "maintenance_ppm"),
    [(100, 500_000), (300, 166_666), (1_250, 40_000), (2_000, 25_000), (65_535, 762)],
)
def test_maintenance_from_cap__known_cap__is_half_of_its_inverse(cap_e2, maintenance_ppm):
    assert units.maintenance_from_cap(cap_e2) == maintenance_ppm


@PROVEN
@given(caps)
def test_maintenance_from_cap__any_cap__twice_their_product_is_at_most_one(cap_e2):
    maintenance = Fraction(units.maintenance_from_cap(cap_e2), units.PPM)
    assert 2 * maintenance * Fraction(cap_e2, 100) <= 1


@PROVEN
@given(caps, st.integers(0, 2**20))
def test_is_coherent__any_pair__only_the_cap_s_own_maintenance(cap_e2, maintenance_ppm):
    own = units.maintenance_from_cap(cap_e2)
    assert units.is_coherent(cap_e2, own)
    assert units.is_coherent(cap_e2, maintenance_ppm) == (maintenance_ppm == own)


@PROVEN
@given(caps)
def test_is_coherent__one_ppm_off__is_not(cap_e2):
    own = units.maintenance_from_cap(cap_e2)
    assert not units.is_coherent(cap_e2, own + 1)
    assert not units.is_coherent(cap_e2, own - 1)


@pytest.mark.parametrize(("cap_e2", "maintenance_ppm"), [(0, 0), (0, 500_000), (-100, -500_000)])
def test_is_coherent__cap_not_positive__is_not(cap_e2, maintenance_ppm):
    assert not units.is_coherent(cap_e2, maintenance_ppm)


@PROVEN
@given(maintenances)
def test_cap_from_maintenance__any__is_the_largest_cap_it_covers(maintenance_ppm):
    cap_e2 = units.cap_from_maintenance(maintenance_ppm)
    assert 2 * maintenance_ppm * cap_e2 <= 100 * units.PPM < 2 * maintenance_ppm * (cap_e2 + 1)


@PROVEN
@given(maintenances)
def test_cap_from_maintenance__there_and_back__never_asks_less_margin(maintenance_ppm):
    cap_e2 = units.cap_from_maintenance(maintenance_ppm)
    published = units.maintenance_from_cap(cap_e2)
    assert published >= maintenance_ppm
    assert units.is_coherent(cap_e2, published)


@PROVEN
@given(maintenances, maintenances)
def test_cap_from_maintenance__more_maintenance__never_a_higher_cap(one, other):
    low, high = sorted((one, other))
    assert units.cap_from_maintenance(high) <= units.cap_from_maintenance(low)


@pytest.mark.parametrize("cap_e2", [0, 99, 65_536, -100, True, "500", 500.0])
def test_maintenance_from_cap__no_such_cap__is_refused(cap_e2):
    with pytest.raises(units.UnitError, match="cap_e2"):
        units.maintenance_from_cap(cap_e2)


@pytest.mark.parametrize("maintenance_ppm", [0, 762, 500_001, -1, True, "25000", 25_000.0])
def test_cap_from_maintenance__no_such_ratio__is_refused(maintenance_ppm):
    with pytest.raises(units.UnitError, match="maintenance_ppm"):
        units.cap_from_maintenance(maintenance_ppm)


@pytest.mark.parametrize("value", [True, "5", 5.0, None, b"\x05"])
def test_int_fault__not_exactly_an_int__says_the_type(value):
    assert type(value).__name__ in units.int_fault(value, 0, 10)


@pytest.mark.parametrize(("value", "accepted"), [(-1, False), (0, True), (10, True), (11, False)])
def test_int_fault__bounds__are_inclusive(value, accepted):
    assert (units.int_fault(value, 0, 10) is None) == accepted
