"""Gas of a price round and a risk update, beside the floor that storage and signatures set.

    python -m benchmarks.gas [--json OUT] [--quick]

Measured in py-evm (Prague), whole transactions with their intrinsic gas, each beginning cold, on
markets that have real values. `loosen` moves every field of every market the looser way, `tighten`
the other way in the middle of a ramp, `renew` repeats the values.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks import gas_margin
from contracts.packing import PriceHalf, RiskFields, pack_amount
from contracts.units import WholeUsdc
from tests.contracts.chain import PyEvm, Receipt
from tests.contracts.world import FIELDS, PRICE, FeedWorld, OracleWorld, capped, moved, price_word

MARKETS: Final = (1, 10, 50, 100)
SIGNATURES: Final = (1, 2, 3, 5)
TARGETS: Final = {
    ("round", 50, 3): 5_200,
    ("update loosen", 50, 3): 9_000,
    ("update tighten", 50, 3): 9_000,
}
SINGLE_TARGET: Final = 60_000  # update of one market, 2 signatures
AVERAGE_WORD_GAS: Final = 16  # zero bytes cost 4, others 16: the formula takes the dearer


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured transaction."""

    call: str
    markets: int
    signatures: int
    gas: int
    floor: int

    @property
    def per_market(self) -> float:
        """Gas of the whole transaction, shared by its markets."""
        return self.gas / self.markets


def floor_gas(markets: int, signatures: int, markets_a_slot: int) -> int:
    """Give the lower bound of reference 8.4: storage, signatures and calldata, and no check.

    21,000 + the round's slot + k (ecrecover, 64 bytes, a cold signer) + a slot and a word each.
    """
    slots = -(-markets // markets_a_slot)
    signed = signatures * (3_000 + 64 * AVERAGE_WORD_GAS + 2_100)
    return 21_000 + 5_000 + signed + slots * (5_000 + 32 * AVERAGE_WORD_GAS)


def _quote(market: int, ppm: int) -> PriceHalf:
    return moved(PRICE, ppm)._replace(confidence=6 + market % 30, age_ms=13 * (market % 60))


def _words(markets: int, ppm: int) -> list[int]:
    halves = [_quote(market, ppm) for market in range(markets)]
    pairs = zip(halves[::2], [*halves[1::2], PriceHalf(0, 0, 0, 0)], strict=False)
    return [price_word(low, high, slot) for slot, (low, high) in enumerate(pairs)]


def _landed(receipt: Receipt, markets: int) -> int:
    (event,) = receipt.events
    if event.fields["skipped"]:
        raise AssertionError(f"{len(event.fields['skipped'])} of {markets} items were skipped")
    return receipt.gas_used


def rounds(markets: int, signatures: int) -> Iterator[Row]:
    """Measure a round in which every market moves inside its band."""
    world = FeedWorld(markets, evm=PyEvm(), threshold=signatures)
    used = 0
    for ppm in (0, 300, -500):
        world.wait(2)
        used = _landed(world.post(world.message(*_words(markets, ppm))), markets)
    floor = floor_gas(markets, signatures, 2)
    yield Row(call="round", markets=markets, signatures=signatures, gas=used, floor=floor)


def _fields(markets: int, cap_e2: int, amounts: tuple[int, int], spread: int) -> list[RiskFields]:
    interest, scale = (pack_amount(WholeUsdc(amount)) for amount in amounts)
    moving = {"open_interest_cap": interest, "size_scale": scale, "spread": spread}
    return [capped(cap_e2, FIELDS._replace(market=market), **moving) for market in range(markets)]


def updates(markets: int, signatures: int) -> Iterator[Row]:
    """Measure a loosening, a tightening in mid-ramp, and a renewal."""
    world = OracleWorld(markets, evm=PyEvm(), threshold=signatures)
    loose = _fields(markets, 1_050, (5_200_000, 1_050_000), 46)
    tight = _fields(markets, 950, (5_100_000, 1_000_000), 48)
    floor = floor_gas(markets, signatures, 1)
    world.update(*_fields(markets, 1_000, (5_000_000, 1_000_000), 48))
    for name, wait_s, fields in (
        ("loosen", 1_000, loose),
        ("tighten", 60, tight),
        ("renew", 60, tight),
    ):
        world.wait(wait_s)
        used = _landed(world.update(*fields), markets)
        yield Row(
            call=f"update {name}", markets=markets, signatures=signatures, gas=used, floor=floor
        )


def measure(markets: Sequence[int], signatures: Sequence[int]) -> list[Row]:
    """Measure every call at every size."""
    return [
        row
        for call in (rounds, updates)
        for count in markets
        for signed in signatures
        for row in call(count, signed)
    ]


def table(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table, with the target where there is one."""
    lines = [
        "| call | markets | signatures | gas | a market | floor a market | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row.call, row.markets, row.signatures)):
        target = TARGETS.get((row.call, row.markets, row.signatures))
        if (row.markets, row.signatures) == (1, 2) and row.call.startswith("update"):
            target = SINGLE_TARGET
        lines.append(
            f"| {row.call} | {row.markets} | {row.signatures} | {row.gas:,} | {row.per_market:,.0f}"
            f" | {row.floor / row.markets:,.0f} | {f'≤ {target:,}' if target else ''} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gas", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows as JSON too")
    parser.add_argument("--quick", action="store_true", help="only the sizes that have targets")
    options = parser.parse_args(arguments)
    rows = measure((1, 50), (2, 3)) if options.quick else measure(MARKETS, SIGNATURES)
    print(f"py-evm, Prague, Python {platform.python_version()}\n\n{table(rows)}")
    margin = gas_margin.measure()
    print(f"\n{gas_margin.table(margin)}")
    if options.json:
        found = [{**asdict(row), "per_market": row.per_market} for row in rows]
        found += [asdict(row) for row in margin]
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
