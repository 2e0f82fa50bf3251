"""Which engine gets a request, by every policy."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.api_server import ApiServers, ServerModel
from metronome.orchestrator.serving.interface import Role
from metronome.orchestrator.serving.looking_ahead import LOOKING_AHEAD
from metronome.orchestrator.serving.replica import Replica
from metronome.orchestrator.serving.router import POLICIES, make_router
from metronome.orchestrator.units import PS_PER_MS
from metronome.orchestrator.workload.request import Request

from .engines import complete, vllm


def engine(number, waiting=0, role=Role.BOTH):
    made = Replica(f"e{number}", number, vllm(role=role))
    for i in range(waiting):
        made.submit(made.new_request(Request(1000 * number + i, 0, 8, 2)))
    return made


def router(policy):
    return make_router(policy, np.random.default_rng(0))


def request(number, session=None, ids=None):
    return Request(number, 0, 12, 2, None if ids is None else array("q", ids), session)


class First:
    """A user's own policy, as the documentation shows it."""

    def choose(self, request, replicas):
        return replicas[0]


@pytest.mark.parametrize(
    "policy", [*(one for one in POLICIES if one not in LOOKING_AHEAD), "tests.serving.test_router:First"]
)
def test_every_policy_chooses_one_of_those_given(policy):
    engines = [engine(0, 3), engine(1), engine(2, 1)]
    chosen = router(policy)
    assert all(chosen.choose(request(i), engines) in engines for i in range(9))


def test_least_loaded_counts_waiting_four_times():
    assert router("least-loaded").choose(request(0), [engine(0, 2), engine(1, 1)]).number == 1


def test_round_robin_takes_each_in_turn():
    engines = [engine(i) for i in range(3)]
    turn = router("round-robin")
    assert [turn.choose(request(i), engines).number for i in range(4)] == [0, 1, 2, 0]


def test_round_robin_counts_each_role_of_its_own():
    """A request that is split asks twice; one count for both would always send prompts to the same engine."""
    first = [engine(i, role=Role.PREFILL) for i in range(2)]
    second = [engine(i, role=Role.DECODE) for i in range(2)]
    turn = router("round-robin")
    asked = [(turn.choose(request(i), first).number, turn.choose(request(i), second).number) for i in range(4)]
    assert asked == [(0, 0), (1, 1), (0, 0), (1, 1)]


def test_prefix_aware_follows_the_cache_until_that_engine_is_much_busier():
    ids = list(range(14))
    warm, cold = engine(0), engine(1)
    warm.submit(warm.new_request(request(0, ids=ids)))
    complete(warm.engine, warm.engine.schedule(0))
    aware = router("prefix-aware")
    assert aware.choose(request(1, ids=ids), [cold, warm]) is warm
    assert aware.choose(request(2, ids=list(range(50, 64))), [cold, warm]) is cold
    for i in range(20):
        warm.submit(warm.new_request(request(100 + i)))
    assert aware.choose(request(3, ids=ids), [cold, warm]) is cold


def test_a_session_stays_where_it_began():
    engines = [engine(0), engine(1, 1)]
    home = router("session")
    first = home.choose(request(0, "s"), engines)
    for i in range(5):
        first.submit(first.new_request(request(10 + i)))
    assert home.choose(request(1, "s"), engines) is first
    assert home.choose(request(2, "other"), engines) is not first


def test_pd_aware_looks_at_prompts_before_and_at_free_kv_after():
    aware = router("pd-aware")
    many_short, one_long = engine(0, 2), engine(1)
    one_long.submit(one_long.new_request(Request(9, 0, 500, 2)))
    assert aware.choose(request(0), [one_long, many_short]) is many_short
    full, empty = engine(0, role=Role.DECODE), engine(1, role=Role.DECODE)
    full.engine.scheduler.pool.get_new_blocks(500)
    assert aware.choose(request(1), [full, empty]) is empty


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("fastest", "one of least-loaded"),
        ("nowhere:Router", "cannot be loaded"),
        ("json:JSONDecoder", "has no method choose"),
    ],
)
def test_a_policy_that_is_none_is_refused(policy, message):
    with pytest.raises(InputError, match=message):
        router(policy)


def test_internal_lb_of_0_33_knows_what_is_on_its_way_and_whose_kv_cache_is_full():
    """Of equals the next; its own requests count until they are over, and a queue before a full cache four times."""
    ranks, balancer = [engine(0), engine(1), engine(2)], router("internal-lb")
    for rank in ranks:
        rank.servers = ApiServers(ServerModel(counts_in_flight=True), 1)

    def chosen(number, ms):
        return balancer.choose(Request(number, ms * PS_PER_MS, 12, 2), ranks).number

    assert [chosen(i, 0) for i in range(4)] == [0, 1, 2, 0]
    balancer.tell(ranks[0], 10 * PS_PER_MS, 1, (0, 1), False)
    assert chosen(4, 200) == 1, "published that nobody waits; what was sent is on its way all the same"
    for number in (0, 3):
        balancer.over(number)
    assert chosen(5, 201) == 2 and chosen(6, 201) == 0
    ranks[1].engine.scheduler.pool.get_new_blocks(ranks[1].engine.num_blocks)
    for number in range(7):
        balancer.over(number)
    balancer.tell(ranks[0], 300 * PS_PER_MS, 2, (0, 3), False)
    balancer.tell(ranks[1], 300 * PS_PER_MS, 2, (1, 0), False)
    balancer.tell(ranks[2], 300 * PS_PER_MS, 2, (1, 3), False)
    assert [chosen(i, 600) for i in (7, 8)] == [0, 2], "1 + 1 x 6 x 0.5 is 4, as much as 1 + 3; then all are 4"


def test_internal_lb_knows_what_was_published_and_what_it_has_sent():
    """Queues that it has not been told of, or not yet, count for nothing."""
    ranks, balancer = [engine(0, 9), engine(1), engine(2)], router("internal-lb")

    def chosen(number, ms):
        return balancer.choose(Request(number, ms * PS_PER_MS, 12, 2), ranks).number

    assert [chosen(i, 0) for i in range(4)] == [0, 1, 2, 0]
    balancer.tell(ranks[0], 10 * PS_PER_MS, 1, (0, 1))
    balancer.tell(ranks[1], 10 * PS_PER_MS, 1, (3, 0))
    balancer.tell(ranks[2], 10 * PS_PER_MS, 1, (0, 2))
    assert [chosen(i, 100) for i in range(2)] == [1, 2], "published only after 100 ms"
    assert [chosen(i, 101) for i in range(3)] == [0, 2, 0]
    balancer.tell(ranks[0], 150 * PS_PER_MS, 2, (0, 0))
    balancer.tell(ranks[0], 199 * PS_PER_MS, 3, (9, 9))
    assert chosen(9, 230) == 0, "of the newest step not all have told: the one before it is published"
    assert chosen(10, 600) == 2
