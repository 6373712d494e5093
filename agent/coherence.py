"""Whether settings that are sound one by one make sense together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel

Fault: TypeAlias = tuple[tuple[str, ...], str]
_KEY: Final = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class Listed(Protocol):
    """A market, as far as it has to fit venues and policy."""

    symbol: str
    class_id: int

    @property
    def listings(self) -> Mapping[str, object]:
        """How each venue lists it."""
        ...


def disagreements(
    settings: BaseModel, markets: Sequence[Listed], venues: set[str], classes: set[str]
) -> list[Fault]:
    """Say which values are sound alone and make no sense together."""
    return [*_markets_alone(markets, venues, classes), *_written_secrets(settings)]


def _markets_alone(
    markets: Sequence[Listed], venues: set[str], classes: set[str]
) -> Iterator[Fault]:
    """Find markets that are listed twice, nowhere, or in a class without a policy."""
    symbols: set[str] = set()
    for index, market in enumerate(markets):
        at = ("markets", str(index))
        if market.symbol in symbols:
            yield (*at, "symbol"), f"{market.symbol} is there twice"
        symbols.add(market.symbol)
        if str(market.class_id) not in classes:
            yield (*at, "class_id"), f"there is no [rules.policy.classes.{market.class_id}]"
        for venue in sorted(market.listings.keys() - venues):
            yield (*at, "listings", venue), f"is none of [[venues]]: {', '.join(sorted(venues))}"


def _written_secrets(settings: BaseModel) -> Iterator[Fault]:
    """Find a secret that stands where the name of its file belongs; it is not repeated."""
    for at, value in leaves(settings):
        given = value if isinstance(value, tuple) else (value,)
        if at[0] in {"keys", "signers"} and any(_KEY.fullmatch(str(each)) for each in given):
            yield at, "is a key itself; write it into a file of mode 0600 and name the file"
        if at == ("storage", "url") and value is not None and urlsplit(value).password:
            yield at, "has a password in it; put it into a file and name it as password_file"


def leaves(value: object, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk every single value of settings with its place."""
    if isinstance(value, BaseModel):
        children: Iterable[tuple[str, Any]] = [
            (n, getattr(value, n)) for n in type(value).model_fields
        ]
    elif is_dataclass(value):
        children = [(each.name, getattr(value, each.name)) for each in fields(value)]
    elif isinstance(value, Mapping):
        children = value.items()
    elif isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value):
        children = [(str(index), each) for index, each in enumerate(value)]
    else:
        yield at, value
        return
    for name, child in children:
        yield from leaves(child, (*at, name))
