"""Why the local world cannot do what it was asked.

The exceptions of this folder; those that reach other processes' users are `Stop`s::

    LocalWorldError (Stop)       told to the user as it is
    ├── ReplayError              the replay file is not one; mend the file, nothing was started
    ├── ScenarioError            the scenario file is not one; mend the file, nothing was started
    ├── WorldRunningError        a world already lives in this state folder
    ├── WorldAbsentError         none lives there; start one
    └── WorldFailedError         it did not start or does not answer; its log says why
    RpcError                     one JSON-RPC answer: code, message, data
"""

from __future__ import annotations

from typing import Final

from relayer.errors import Stop

SERVER_ERROR: Final = -32000  # JSON-RPC's code of what a node refuses


class LocalWorldError(Stop):
    """The local world cannot do this; the message says why and what to do."""


class ReplayError(LocalWorldError):
    """The replay file cannot be played."""


class ScenarioError(LocalWorldError):
    """The scenario file does not say what can be done."""


class WorldRunningError(LocalWorldError):
    """A world already lives in this state folder."""


class WorldAbsentError(LocalWorldError):
    """No world lives in this state folder."""


class WorldFailedError(LocalWorldError):
    """The world did not start, or does not answer."""


class RpcError(Exception):
    """A JSON-RPC error, as a node would answer it."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
