"""The app by itself: what it lets in, what it answers, and what an error looks like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from relayer.http.app import create_app
from relayer.http.fences import Rates
from relayer.http.settings import HttpRules
from tests.relayer.http.fakes import HASH, FakeAgent

ACCOUNT = "0x" + "a1" * 20
WISH = {
    "account": ACCOUNT,
    "market": "BTC",
    "side": "long",
    "mode": "isolated",
    "size_e18": "1000000000000000000",
    "leverage_e2": 500,
}
OPEN = HttpRules(
    requests_per_minute=1_000_000,
    terms_per_minute=1_000_000,
    terms_per_minute_of_all=1_000_000,
    timeout_s=10,
)
PROBLEM = "application/problem+json"


@pytest.fixture
def agent() -> FakeAgent:
    return FakeAgent()


@pytest.fixture
async def client(agent: FakeAgent) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(agent, OPEN) as found:
        yield found


def client_of(agent: FakeAgent, rules: HttpRules) -> httpx.AsyncClient:
    app = create_app(agent, rules, "0")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://aml")


async def test_quote__whole_wish__is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.post("/quote", json=WISH)
    assert answer.status_code == 200, answer.text
    assert answer.json()["wanted"]["size_e18"] == "1"


def of_origins(agent: FakeAgent, *origins: str) -> httpx.AsyncClient:
    app = create_app(agent, OPEN, "0", origins)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://aml")


async def test_terms__of_many_addresses__have_a_rate_together() -> None:
    rates = Rates(2, 1, lambda: 0.0)
    assert [rates.wait_s("") > 0.0 for _ in range(3)] == [False, False, True]
    rules = HttpRules(terms_per_minute_of_all=1)
    async with client_of(FakeAgent(), rules) as client:
        assert (await client.post("/quote", json=WISH)).status_code == 200
        assert (await client.post("/quote", json=WISH)).status_code == 429
        assert (await client.get("/markets")).status_code == 200


async def test_origins__named__may_ask_and_no_other_may(agent: FakeAgent) -> None:
    async with of_origins(agent, "https://app.example.org") as client:
        asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
        before = await client.options("/quote", headers=asked)
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://app.example.org"
        mine = await client.get("/markets", headers={"Origin": "https://app.example.org"})
        assert mine.headers["access-control-allow-origin"] == "https://app.example.org"
        assert "access-control-allow-credentials" not in mine.headers
        for origin in ("https://evil.example.org", "http://app.example.org", "null"):
            other = await client.get("/markets", headers={"Origin": origin})
            assert "access-control-allow-origin" not in other.headers


async def test_origins__none__no_page_may_ask(client: httpx.AsyncClient) -> None:
    answer = await client.get("/markets", headers={"Origin": "https://app.example.org"})
    assert "access-control-allow-origin" not in answer.headers


async def test_quote__refusal__says_what_would_pass(client: httpx.AsyncClient) -> None:
    answer = await client.post("/quote", json=WISH | {"leverage_e2": 5_000})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == PROBLEM
    body = answer.json()
    assert (body["reason"], body["field"]) == ("above_cap", "leverage")
    assert body["passes"]["leverage_e2"] == 1_000


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"account": "0x12"}, "account"),
        ({"account": "0x" + "aA" * 20}, "checksum"),
        ({"side": "up"}, "side"),
        ({"size_e18": 5}, "size_e18"),
        ({"size_e18": "-5"}, "size_e18"),
        ({"size_e18": "007"}, "size_e18"),
        ({"leverage_e2": 5.5}, "leverage_e2"),
        ({"leverage_e2": True}, "leverage_e2"),
        ({"leverage_e2": "500"}, "leverage_e2"),
        ({"colour": "red"}, "colour"),
        ({"market": ""}, "market"),
    ],
)
async def test_quote__wrong_field__is_named(
    client: httpx.AsyncClient, agent: FakeAgent, changes: dict, named: str
) -> None:
    answer = await client.post("/quote", json=WISH | changes)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    assert named in answer.json()["detail"]
    assert not agent.asked


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a":' * 5_000, b"\xff\xfe"])
async def test_quote__no_body_of_ours__is_a_problem(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/quote", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == PROBLEM


async def test_body__too_large__is_refused_unread(agent: FakeAgent) -> None:
    async with client_of(agent, HttpRules(max_body_bytes=100)) as client:
        answer = await client.post("/quote", content=b"x" * 101)
        assert answer.status_code == 413

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 50

        answer = await client.post("/quote", content=endless())
        assert answer.status_code == 413
    assert not agent.asked


async def test_rate__too_often__says_when(agent: FakeAgent) -> None:
    async with client_of(agent, HttpRules(terms_per_minute=2)) as client:
        codes = [(await client.post("/quote", json=WISH)).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        refused = await client.post("/quote", json=WISH)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await client.get("/markets")).status_code == 200


async def test_rate__health__is_never_refused(agent: FakeAgent) -> None:
    async with client_of(agent, HttpRules(requests_per_minute=1)) as client:
        codes = [(await client.get("/healthz")).status_code for _ in range(5)]
    assert codes == [200] * 5


def test_rates__many_clients__remember_a_bounded_number() -> None:
    now = [0.0]
    rates = Rates(60, remembered=10, now_s=lambda: now[0])
    for number in range(10_000):
        assert rates.wait_s(str(number)) == 0.0
    assert len(rates) == 10


def test_rates__a_minute_s_worth__comes_back_in_a_minute() -> None:
    now = [0.0]
    rates = Rates(60, remembered=10, now_s=lambda: now[0])
    assert sum(rates.wait_s("one") == 0.0 for _ in range(100)) == 60
    assert rates.wait_s("one") > 0.0
    now[0] += 60.0
    assert sum(rates.wait_s("one") == 0.0 for _ in range(100)) == 60


async def test_chain_down__is_503_without_its_address(
    client: httpx.AsyncClient, agent: FakeAgent
) -> None:
    agent.down = True
    answer = await client.get("/markets")
    assert answer.status_code == 503
    assert "10.0.0.7" not in answer.text
    assert (await client.get("/readyz")).status_code == 503


async def test_agent_that_hangs__is_504(agent: FakeAgent) -> None:
    class Hanging(FakeAgent):
        async def markets(self):
            await asyncio.Event().wait()

    async with client_of(Hanging(), HttpRules(timeout_s=1)) as client:
        answer = await client.get("/markets")
    assert answer.status_code == 504
    assert answer.headers["content-type"] == PROBLEM


async def test_fault_of_ours__tells_nothing(client: httpx.AsyncClient) -> None:
    class Broken(FakeAgent):
        async def decisions(self, limit):
            raise RuntimeError("secret")

    async with client_of(Broken(), OPEN) as broken:
        answer = await broken.get("/decisions")
    assert answer.status_code == 500
    assert "secret" not in answer.text


async def test_evidence__is_given_byte_for_byte(client: httpx.AsyncClient) -> None:
    for name in (HASH, HASH[2:]):
        answer = await client.get(f"/evidence/{name}")
        assert answer.content == b'{"digests":{},"fields":{}}'
        assert "immutable" in answer.headers["cache-control"]
    assert (await client.get("/evidence/" + "0" * 64)).status_code == 404
    assert (await client.get("/evidence/..%2f..%2fetc%2fpasswd")).status_code in {404, 422}


async def test_stream__each_warning__is_an_event(client: httpx.AsyncClient) -> None:
    answer = await client.get("/warnings/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("event: warning") == 2
    assert "id: 2\n" in answer.text


async def test_unknown_path__is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)


FUZZED_APP = create_app(FakeAgent(), OPEN, "0")
FUZZED = schemathesis.openapi.from_asgi("/openapi.json", FUZZED_APP).exclude(
    path="/warnings/stream"  # it does not end
)
OPERATIONS = {each.ok().label: each.ok() for each in FUZZED.get_all_operations()}


def test_openapi__describes__every_endpoint() -> None:
    assert set(FUZZED_APP.openapi()["paths"]) == {
        "/quote",
        "/simulate",
        "/markets",
        "/limits",
        "/accounts/{address}",
        "/warnings",
        "/warnings/stream",
        "/decisions",
        "/evidence/{digest}",
        "/healthz",
        "/readyz",
    }


@pytest.mark.parametrize("label", sorted(OPERATIONS))
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_app__fuzzed_by_its_own_openapi__answers_as_it_says(
    label: str, mode: schemathesis.GenerationMode
) -> None:
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers_as_it_says(case: schemathesis.Case) -> None:
        answer = case.call()
        if "checksum" not in answer.text:  # no JSON schema can say which case is right
            case.validate_response(answer)

    try:
        answers_as_it_says()
    except Unsatisfiable:
        pytest.skip("nothing can be wrong in a request without parameters")
