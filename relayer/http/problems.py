"""Errors as problem+json (RFC 9457): what is wrong, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from relayer.errors import HoldCycle, RelayerError, Retry
from relayer.http.port import NotGiven
from relayer.http.schemas import Problem

MEDIA_TYPE: Final = "application/problem+json"
_SHOWN_FAULTS: Final = 8  # of one body; the rest are of the same kind

Given = TypeVar("Given")


class NotGivenError(Exception):
    """The agent gives nothing; the answer says why."""

    def __init__(self, said: NotGiven) -> None:
        super().__init__(said.reason)
        self.said = said


def given(answer: Given | NotGiven) -> Given:
    """Pass an answer on; raise where there is none."""
    if isinstance(answer, NotGiven):
        raise NotGivenError(answer)
    return answer


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Write an error."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=None if headers is None else dict(headers),
    )


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe error answers in the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "model": Problem, "content": content}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Answer every error as a problem."""
    app.add_exception_handler(NotGivenError, _not_given)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RelayerError, _faulty)
    app.add_exception_handler(Exception, _unknown)


async def _not_given(request: Request, fault: Exception) -> JSONResponse:
    del request
    assert isinstance(fault, NotGivenError)
    said = fault.said
    body = Problem(
        title="Not given",
        status=HTTPStatus.CONFLICT,
        detail=said.detail,
        reason=said.reason,
        field=said.field,
        passes=said.passes,
    )
    return JSONResponse(body.model_dump(), status_code=body.status, media_type=MEDIA_TYPE)


async def _invalid(request: Request, fault: Exception) -> JSONResponse:
    """Name each field that is wrong, without repeating what was sent."""
    del request
    assert isinstance(fault, RequestValidationError)
    faults = [
        f"{'.'.join(str(part) for part in each['loc'][1:]) or 'body'}: {each['msg']}"
        for each in fault.errors()
    ]
    shown = "; ".join(faults[:_SHOWN_FAULTS])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, shown)


async def _http(request: Request, fault: Exception) -> JSONResponse:
    del request
    assert isinstance(fault, HTTPException)
    return problem(fault.status_code, str(fault.detail), fault.headers)


async def _faulty(request: Request, fault: Exception) -> JSONResponse:
    """Answer a fault of the world; whether it passes is said, what an endpoint answered is not."""
    del request
    passes = isinstance(fault, Retry | HoldCycle)
    detail = f"{type(fault).__name__}: the chain or the journal does not answer now"
    headers = {"Retry-After": "5"} if passes else None
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers)


async def _unknown(request: Request, fault: Exception) -> JSONResponse:
    del request, fault
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of ours; it is in the log")
