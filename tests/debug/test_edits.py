"""What can be set in the middle of a run, and what changes the past."""

from __future__ import annotations

from dataclasses import replace

import pytest
from metronome.hwmodels.network.fabric import Fabric
from metronome.orchestrator.debug.forks import fork
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.state import digest
from metronome.orchestrator.debug.why import why, why_all
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.source import LiveSource

from .transcripts import FOLDER

BANDWIDTH = "cluster.networks.0.bandwidth_gb_s"


def pd(overrides=()):
    scenario, folder = load(str(FOLDER / "pd.yaml"), overrides)
    return DebugSession.live(scenario, Inputs(folder), LiveSource(None))


def latencies(session):
    session.run()
    return {answer.request: answer.total_ps for answer in why_all(session)}


def idle(session, name="nvlink"):
    """On to an event before which nothing is on that component."""
    while session.simulation.ports.open_operations(name):
        session.step()
    return session.position


@pytest.mark.parametrize(
    ("run", "path", "value"),
    [
        ("inprocess", BANDWIDTH, "30"),
        ("process", BANDWIDTH, "30"),
        ("inprocess", "components.n0.accelerators.launch_overhead_ns", "9000"),
    ],
)
def test_from_the_first_event_on_it_is_the_scenario_with_that_value(run, path, value):
    """Of a component that shares the clock, and of one that is asked."""
    with pd({"components.nvlink.run": run}) as session, pd({path: float(value)}) as other:
        session.set(path, value)
        assert latencies(session) == latencies(other)


def test_a_slow_link_from_an_event_on():
    with pd() as plain, pd() as session:
        before = latencies(plain)
        session.seek(250)
        here = idle(session)
        done = {state.request.id for state in session.simulation.recorder.done}
        session.set(BANDWIDTH, "3")
        after = latencies(session)
        assert {n: after[n] for n in done} == {n: before[n] for n in done} and done
        assert sum(after.values()) > 1.1 * sum(before.values())
        assert session.log[: here - 1] == plain.log[: here - 1]
        state = digest(session.simulation)
        for place in (1, here - 5, here, here + 5):
            session.seek(place)
            session.run()
            assert digest(session.simulation) == state, place


def test_the_same_edit_made_anew_is_the_same():
    with pd() as session:
        session.seek(250)
        here = idle(session)
        session.set(BANDWIDTH, "3")
        first = latencies(session)
        session.seek(here)
        session.set(BANDWIDTH, "3")
        assert latencies(session) == first


def test_an_edit_at_a_checkpoint_is_not_lost_on_the_way_back():
    """Event 1 is one; so is any the user has marked."""
    for place in (1, 200):
        with pd() as session:
            session.seek(place)
            session.mark()
            session.set("engines/d/config/max_num_seqs", "1")
            first = latencies(session)
            session.seek(place)
            assert latencies(session) == first


def test_a_request_that_is_dropped_is_never_sent():
    with pd() as session, pd() as plain:
        before = latencies(plain)
        session.seek(3)
        session.set("requests/4", "dropped")
        after = latencies(session)
        assert sorted(after) == [n for n in sorted(before) if n != 4]
        assert session.log[:125] == plain.log[:125] and after != {n: before[n] for n in after}
        assert session.reason == "the run is complete"


def test_a_client_whose_request_is_dropped_sends_the_next():
    closed = {"workload.max_concurrency": 1}
    with pd(closed) as session:
        session.set("requests/4", "dropped")
        assert sorted(latencies(session)) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]


def test_engines_and_the_router_by_their_paths_in_the_scenario():
    with pd() as session, pd() as other, pd() as third:
        session.set("instances.d.engine.max_num_seqs", "2")
        other.set("instances.2.engine.max_num_seqs", "2")
        third.set("engines/d/config/max_num_seqs", "2")
        assert latencies(session) == latencies(other) == latencies(third)
    with pd() as session, pd({"router.policy": "round-robin"}) as other:
        session.set("router.policy", "round-robin")
        assert latencies(session) == latencies(other)


@pytest.mark.parametrize(
    ("at", "path", "value", "message"),
    [
        (300, "requests/4", "dropped", "changes the past: it arrived at event 125; seek 125"),
        (100, "requests/11", "late", "dropped"),
        (300, "kv_transfer.mode", "pull", "changes the past: it was decided before event 1"),
        (300, "workload.num_requests", "3", "changes the past: it was decided before event 1"),
        (300, "cluster.nodes.0.accelerators.type", "h200", "changes the past: p has had 61242 KV blocks since event 1"),
        (300, BANDWIDTH, "-3", "greater than or equal"),
        (300, "cluster.networks.0.bandwith", "3", "did you mean 'bandwidth_gb_s'"),
        (300, "instances.x.engine.max_num_seqs", "3", "there is no instance x; there is p, q, d"),
        (300, "nothing.at.all", "3", "cannot be set"),
    ],
)
def test_what_changes_the_past_is_refused_and_says_which_event(at, path, value, message):
    with pd() as session:
        session.seek(at)
        before = digest(session.simulation), session.frontier, len(session.tape.log), dict(session.tape.sessions)
        with pytest.raises(InputError, match=message):
            session.set(path, value)
        after = digest(session.simulation), session.frontier, len(session.tape.log), dict(session.tape.sessions)
        assert after == before and not session.edits
        session.run()
        assert session.reason == "the run is complete"


def test_an_operation_that_is_under_way_is_of_the_past():
    with pd() as session:
        ports = session.simulation.ports
        while not ports.open_operations("nvlink"):
            session.step()
        owed = ports.open_operations("nvlink")[0]
        message = f"operation {owed['op']} has been on nvlink since event {owed['cause']}; set it before that event"
        with pytest.raises(InputError, match=f"changes the past: {message}"):
            session.set(BANDWIDTH, "30")
        session.seek(owed["cause"])
        session.set(BANDWIDTH, "30")


class Remembering(Fabric):
    """A network whose past matters, it says."""

    description = replace(Fabric.description, name="remembering", memoryless=False)


def test_a_component_that_remembers_is_refused_once_it_has_been_asked():
    with pd({"components.nvlink.model": f"{__name__}:Remembering"}) as session:
        session.seek(300)
        idle(session)
        with pytest.raises(InputError, match="nvlink remembers what it has done since event 4; set it before"):
            session.set(BANDWIDTH, "30")
        session.seek(4)
        session.set(BANDWIDTH, "30")
        session.run()
        assert session.reason == "the run is complete"


def test_why_tells_of_the_run_as_it_was_edited():
    with pd() as session:
        session.seek(250)
        idle(session)
        session.set(BANDWIDTH, "3")
        session.run()
        answer = why(session, 11)
        assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps
        assert answer.after["network", "nvlink"] + answer.before["network", "nvlink"] > answer.total_ps // 4


def test_a_fork_goes_on_as_the_run_with_its_edits():
    """Hardware, too: its components are started for the fork, and told what the others were."""
    with pd() as session:
        session.seek(250)
        here = idle(session)
        session.set(BANDWIDTH, "3")
        session.seek(here + 60)
        with fork(session, LiveSource(None)) as other:
            other.run()
            session.run()
            assert digest(other.simulation) == digest(session.simulation)
