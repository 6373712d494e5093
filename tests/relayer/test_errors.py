"""Facts about the error maps: nothing a library can raise is without a class of ours."""

from __future__ import annotations

import asyncio
import inspect
import json
from types import ModuleType

import aiohttp
import ccxt
import pytest
import web3.exceptions
from aiohttp import client_exceptions
from ccxt.base import errors as ccxt_errors
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from relayer import errors
from relayer.errors import (
    CCXT,
    FAULT_REASONS,
    WEB3,
    BadAnswer,
    HoldCycle,
    RateLimited,
    RelayerError,
    Retry,
    Stop,
    Unreachable,
    fault_reason,
    translate_ccxt,
    translate_web3,
)


def exception_names(module: ModuleType) -> set[str]:
    return {
        name
        for name, item in vars(module).items()
        if inspect.isclass(item) and issubclass(item, BaseException)
    }


def leaves(root: type[RelayerError]) -> set[type[RelayerError]]:
    below = root.__subclasses__()
    return {root} if not below else set().union(*(leaves(item) for item in below))


def test_ccxt_map__every_class_of_the_library__has_one_entry() -> None:
    assert exception_names(ccxt_errors) == set(CCXT)


def test_web3_map__every_class_of_the_library__has_one_entry() -> None:
    assert exception_names(web3.exceptions) == set(WEB3)


@pytest.mark.parametrize("name", sorted(exception_names(client_exceptions)))
def test_translate__every_aiohttp_class__is_classed(name: str) -> None:
    kind = getattr(client_exceptions, name)
    parts = {"__init__": lambda _self: None, "__str__": lambda _self: "told"}
    raised = type(name, (kind,), parts)()
    assert isinstance(translate_web3(raised), Retry | Stop)


def test_every_class__is_retry_hold_or_stop_and_nothing_between() -> None:
    for kind in leaves(RelayerError):
        assert sum(issubclass(kind, action) for action in (Retry, HoldCycle, Stop)) == 1


def test_fault_reason__every_leaf__is_in_the_closed_set() -> None:
    names = set()
    for kind in leaves(RelayerError):
        exc = kind.__new__(kind)
        names.add(fault_reason(exc))
    assert names | {"unexpected"} == set(FAULT_REASONS)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ccxt.RateLimitExceeded("slow down"), RateLimited),
        (ccxt.RequestTimeout("late"), Unreachable),
        (ccxt.BadSymbol("gone"), errors.VenueRefused),
        (ccxt.AuthenticationError("key"), errors.Misconfigured),
        (KeyError("result"), BadAnswer),
        (json.JSONDecodeError("Expecting value", "<html>", 0), BadAnswer),
        (TimeoutError(), Unreachable),
        (ConnectionResetError("reset"), Unreachable),
        (RuntimeError("new"), HoldCycle),
    ],
)
def test_translate_ccxt__raised__is_classed_by_what_to_do(
    raised: Exception, expected: type[RelayerError]
) -> None:
    assert type(translate_ccxt(raised)) is expected


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (web3.exceptions.TooManyRequests("slow down"), RateLimited),
        (web3.exceptions.ContractCustomError("0x"), errors.Reverted),
        (web3.exceptions.BadResponseFormat("<html>"), BadAnswer),
        (aiohttp.ClientOSError("refused"), Unreachable),
        (aiohttp.ServerTimeoutError(), Unreachable),
        (aiohttp.InvalidURL("nowhere"), errors.Misconfigured),
    ],
)
def test_translate_web3__raised__is_classed_by_what_to_do(
    raised: Exception, expected: type[RelayerError]
) -> None:
    assert type(translate_web3(raised)) is expected


def test_translate__too_many_requests_by_status__is_rate_limited() -> None:
    url = URL("http://node/secret-access-key")
    info = aiohttp.RequestInfo(url, "POST", CIMultiDictProxy(CIMultiDict()), url)
    raised = aiohttp.ClientResponseError(info, (), status=429, message="Too Many Requests")
    assert type(translate_web3(raised)) is RateLimited


def test_translate__subclass_made_by_nobody_we_know__goes_with_its_base() -> None:
    class VenueIsMoving(ccxt.OnMaintenance):
        pass

    assert type(translate_ccxt(VenueIsMoving())) is errors.VenueRefused


def test_translate__message_with_an_endpoint__keeps_the_access_key_out() -> None:
    raised = aiohttp.ClientError("POST https://node.example/v2/s3cr3t?key=t0ken failed")
    message = str(translate_web3(raised))
    assert "node.example" in message
    assert "s3cr3t" not in message
    assert "t0ken" not in message


def test_translate__our_own_error__is_returned_as_it_is() -> None:
    own = RateLimited("later", retry_after_s=3.0)
    assert translate_web3(own) is own


def test_translate__cancellation__is_never_swallowed() -> None:
    with pytest.raises(TypeError, match="CancelledError"):
        translate_web3(asyncio.CancelledError())
