"""Asks a process of ours, over its metrics, whether it answers and its loops get anywhere."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from typing import Final

STUCK: Final = re.compile(r'^aml_loop_stuck_number\{loop="([a-z]+)"\} 1\.0$', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether all is well, in words."""

    well: bool
    said: str


def ask(host: str, port: int, timeout_s: float) -> Answer:
    """Ask once; a process that does not answer in time is not well."""
    asking = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        asking.request("GET", "/metrics")
        answer = asking.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as fault:
        return Answer(well=False, said=f"{host}:{port} does not answer: {fault}")
    finally:
        asking.close()
    return judged(answer.status, text)


def judged(status: int, text: str) -> Answer:
    """Judge what was answered."""
    if status != http.HTTPStatus.OK or "aml_" not in text:
        return Answer(well=False, said=f"answers {status}, without metrics of ours")
    stuck = STUCK.findall(text)
    if stuck:
        return Answer(well=False, said=f"stuck: {', '.join(sorted(stuck))}")
    return Answer(well=True, said="answers, and no loop is stuck")
