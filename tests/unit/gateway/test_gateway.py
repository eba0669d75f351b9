"""Names to deployments: strategies, circles, health."""

import asyncio
import pickle
from collections import Counter

import pytest

from chainops.calls import NodeSettings
from chainops.errors import Blocked, CallError, SetupError
from chainops.gateway import Alias, Deployment, DeploymentDown, Gateway, Health, RouteRule, Watched
from chainops.gateway.failures import is_retryable, retry_after_s, status_of
from chainops.testing import ScriptedModel, model_call


def made(*names, **options):
    return [Deployment(name, ScriptedModel(["a"], repeat=True), **options) for name in names]


def test_a_model_is_made_when_it_is_first_asked_and_once():
    times = []
    deployment = Deployment("a", lambda: times.append(1) or ScriptedModel(["a"]))
    assert not times
    assert deployment.model is deployment.model and times == [1]


def test_weights_are_shares():
    gateway = Gateway(
        [Deployment("a", ScriptedModel(), weight=3), Deployment("b", ScriptedModel(), weight=1)],
        [Alias("chat", deployments=("a", "b"), strategy="weighted")],
    )
    first = Counter(gateway.plan("chat")[0].name for _ in range(4000))
    assert first["a"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_the_least_busy_is_first():
    a, b = made("a", "b")
    gateway = Gateway([a, b], [Alias("chat", deployments=("a", "b"), strategy="least_busy")])
    a.health.begin()
    assert gateway.plan("chat")[0] is b
    b.health.begin()
    b.health.begin()
    assert gateway.plan("chat")[0] is a


def test_the_fastest_is_asked_more_and_the_slow_one_is_not_forgotten():
    now = [0.0]
    ones = [Deployment(n, ScriptedModel(), health=Health(n, clock=lambda: now[0])) for n in ("fast", "slow", "slower")]
    gateway = Gateway(ones, [Alias("chat", deployments=("fast", "slow", "slower"), strategy="fastest")])
    took = {"fast": 0.1, "slow": 1.0, "slower": 3.0}
    asked = Counter()
    for _ in range(300):
        first = gateway.plan("chat")[0]
        began = first.health.begin()
        now[0] += took[first.name]
        first.health.succeeded(began)
        asked[first.name] += 1
    assert asked["fast"] > asked["slow"] > asked["slower"] == 1


def test_unknown_prices_come_last():
    ones = [
        Deployment(n, ScriptedModel(), cost=c) for n, c in (("x", None), ("dear", 9.0), ("cheap", 1.0), ("free", 0.0))
    ]
    gateway = Gateway(ones, [Alias("chat", deployments=("x", "dear", "cheap", "free"), strategy="cheapest")])
    assert [d.name for d in gateway.plan("chat")] == ["free", "cheap", "dear", "x"]


def test_who_is_down_comes_last_and_fallbacks_are_flattened():
    a, b, c = made("a", "b", "c")
    gateway = Gateway(
        [a, b, c], [Alias("big", deployments=("c",)), Alias("chat", deployments=("a", "b"), fallbacks=("big",))]
    )
    assert [d.name for d in gateway.plan("chat")] == ["a", "b", "c"]
    for _ in range(a.health.trip_after):
        a.health.begin()
        a.health.failed(ConnectionError())
    assert [d.name for d in gateway.plan("chat")] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("aliases", "word"),
    [
        ([Alias("x", deployments=("nobody",))], "nobody"),
        ([Alias("a", deployments=("a",))], "Two models"),
        (
            [Alias("x", deployments=("a",), fallbacks=("y",)), Alias("y", deployments=("b",), fallbacks=("x",))],
            "circle",
        ),
        ([Alias("x", tiers=("a", "nobody"))], "nobody"),
    ],
)
def test_names_that_lead_nowhere_are_told_at_once(aliases, word):
    with pytest.raises(SetupError, match=word) as wrong:
        Gateway(made("a", "b"), aliases)
    assert wrong.value.code == "setup.route"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Alias("x"),
        lambda: Alias("x", deployments=("a",), tiers=("a", "b")),
        lambda: Alias("x", tiers=("a",)),
        lambda: Alias("x", deployments=("a",), rules=(RouteRule("a", matches="x"),)),
        lambda: Alias("x", tiers=("a", "b"), rules=(RouteRule("c", matches="x"),)),
        lambda: Alias("x", tiers=("a", "b"), thresholds=(0.1, 0.2)),
        lambda: Alias("x", tiers=("a", "b", "c"), thresholds=(0.3, 0.2)),
        lambda: Alias("x", deployments=("a",), cascade=True),
        lambda: RouteRule("a"),
        lambda: RouteRule("a", matches="("),
    ],
)
def test_an_alias_that_makes_no_sense_says_so(make):
    with pytest.raises(SetupError) as wrong:
        make()
    assert wrong.value.code == "setup.route" and wrong.value.hint


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(SetupError, match="Did you mean 'small'"):
        Gateway(made("small", "large")).alias("smal")


async def test_a_cancelled_call_is_nobodys_fault():
    health = Health("a")

    async def engine(call):
        await asyncio.sleep(60)

    task = asyncio.create_task(Watched(engine, health)(model_call()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert health.in_flight == 0 and health.errors == 0 and health.in_a_row == 0


def test_mistakes_of_the_caller_do_not_open_the_breaker():
    health = Health("a", trip_after=2)
    for _ in range(10):
        health.begin()
        health.failed(ValueError("bad request"))
    assert health.state == "closed" and health.report()["calls"] == 10


def opened(now):
    """A breaker that has just opened, with a call from before under way; when that began."""
    health = Health("a", trip_after=1, open_s=5.0, max_open_s=60.0, clock=lambda: now[0])
    old, failing = health.begin(), health.begin()
    health.failed(ConnectionError(), failing)
    now[0] += 6
    return health, old


@pytest.mark.parametrize("end", [asyncio.CancelledError(), ConnectionError(), ValueError()])
def test_a_call_from_before_the_breaker_opened_is_not_the_one_that_tries(end):
    now = [100.0]
    health, old = opened(now)
    health.trip_after = 5
    trying = health.begin()
    health.failed(end, old)
    with pytest.raises(DeploymentDown):
        health.begin()
    health.succeeded(trying)
    assert health.state == "closed" and health.available()


def test_a_call_that_tries_and_hangs_does_not_keep_everybody_away_for_ever():
    now = [100.0]
    health, _ = opened(now)
    hanging = health.begin()
    now[0] += 59
    with pytest.raises(DeploymentDown):
        health.begin()
    now[0] += 2
    assert health.available()
    second = health.begin()
    health.failed(asyncio.CancelledError(), hanging)
    with pytest.raises(DeploymentDown):
        health.begin()
    health.succeeded(second)
    assert health.state == "closed"


def test_errors_survive_pickle():
    down = pickle.loads(pickle.dumps(DeploymentDown("a", 3.0)))
    assert (down.deployment, down.retry_after_s, down.code, down.retryable) == ("a", 3.0, "route.down", True)


class Answer:
    def __init__(self, status, **headers):
        self.status_code, self.headers = status, headers


class HttpError(Exception):
    def __init__(self, status, **headers):
        super().__init__(str(status))
        self.response = Answer(status, **headers)


class Passing(CallError):
    retryable = True


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (HttpError(429), True),
        (HttpError(503), True),
        (HttpError(400), False),
        (HttpError(401), False),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (ValueError("x"), False),
        (Blocked("no"), False),
        (CallError("no"), False),
        (Passing("later"), True),
        (SetupError("no"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(error, again):
    assert is_retryable(error) is again


def test_retry_after_is_read_in_all_its_forms():
    assert retry_after_s(HttpError(429, **{"retry-after": "3"})) == 3
    assert retry_after_s(HttpError(429, **{"retry-after-ms": "250"})) == 0.25
    assert retry_after_s(HttpError(429, **{"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})) == 0
    assert retry_after_s(HttpError(429, **{"retry-after": "soon"})) is None
    assert retry_after_s(HttpError(429, **{"retry-after": "-5"})) is None
    assert retry_after_s(HttpError(429)) is None and retry_after_s(ValueError()) is None
    assert status_of(HttpError(200)) is None and status_of(HttpError(404)) == 404


def test_settings_of_a_node_are_kept_apart():
    assert NodeSettings(metadata={"route": "big"}).metadata == {"route": "big"}
