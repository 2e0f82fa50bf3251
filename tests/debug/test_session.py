"""The debugger never changes a run, and going back comes to where one was."""

from __future__ import annotations

import random

import pytest
from metronome.orchestrator.debug import state
from metronome.orchestrator.debug.expressions import parse
from metronome.orchestrator.debug.moves import EVENT_KINDS, Moves
from metronome.orchestrator.debug.session import MOST, DebugSession
from metronome.orchestrator.debug.stops import Break, Catch, RequestBreak, Watch
from metronome.orchestrator.debug.why import why
from metronome.orchestrator.errors import ComponentFailure, InputError
from metronome.orchestrator.record.recording import Recording
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import write
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import load, validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource

from ..coupling.test_placement import files

SCENARIOS = ("quickstart", "prefill-decode", "prefill-decode-two-nodes", "tensor-pipeline-parallel", "expert-parallel")


def opened(scenario, folder, logs=None):
    return DebugSession.live(scenario, Inputs(folder), LiveSource(logs))


def plain(scenario, folder, out):
    with Simulation(scenario, folder, LiveSource(out / "logs")) as simulation:
        simulation.run()
        write(simulation, out, 0.0, Ending())
    return files(out)


def stepped_about(session, seed=1):
    """Stops, watches, steps, going back and looking, at random."""
    rng = random.Random(seed)
    stops, simulation = session.stops, session.simulation
    engine = simulation.replicas[0].name
    stops.add(Break(number=stops.number(), kind="schedule", condition=parse("rank == 0"), ignore=40))
    stops.add(Watch(number=stops.number(), path=f"engines/{engine}/counts/admissions"))
    stops.add(RequestBreak(number=stops.number(), request=5))
    stops.add(Catch(number=stops.number(), what="preemption"))
    for _ in range(25):
        what = rng.randrange(6)
        if what == 0:
            session.seek(rng.randint(1, session.frontier))
        elif what == 1:
            session.back_to()
        elif what == 2:
            session.run()
        elif what == 3:
            for _ in range(rng.randint(1, 60)):
                session.step()
        elif what == 4:
            state.flat(state.tree(session.simulation, lambda name: None))
            for spec in session.simulation.specs:
                if not session.inside.state_is(spec.name).startswith("not available"):
                    session.inside.component_state(spec.name)
        elif session.position > 400:
            request = next(iter(state.request_ids(session.simulation)))
            why(session, request)
    for stop in stops.all.values():
        stop.enabled = False
    assert session.run() == "the run is complete"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_debugged_run_gives_the_same_bytes(name, tmp_path):
    scenario, folder = load(name)
    with opened(scenario, folder) as session:
        stepped_about(session)
        write(session.simulation, tmp_path / "debugged", 0.0, Ending())
    assert files(tmp_path / "debugged") == plain(scenario, folder, tmp_path / "plain")


@pytest.mark.parametrize("run", ["inprocess", "process"])
def test_wherever_components_run(run, small, tmp_path):
    small["components"] = {name: {"run": run} for name in ("n0.accelerators", "n0.dram", "nvlink0")}
    scenario = validate(small, "test")
    with opened(scenario, tmp_path, tmp_path / "logs") as session:
        stepped_about(session, seed=2)
        write(session.simulation, tmp_path / "debugged", 0.0, Ending())
    assert files(tmp_path / "debugged") == plain(scenario, tmp_path, tmp_path / "plain")


def test_a_thousand_random_seeks_come_to_where_a_fresh_run_was(small, tmp_path):
    scenario = validate(small, "test")
    fresh = {}
    with Simulation(scenario, tmp_path) as simulation:
        simulation.dispatcher.start()
        while (event := simulation.kernel.next()) is not None:
            fresh[simulation.kernel.events] = state.digest(simulation)
            event.action()
    rng = random.Random(7)
    with opened(scenario, tmp_path) as session:
        session.run()
        for _ in range(1000):
            number = rng.randint(1, len(fresh))
            session.seek(number)
            assert session.position == number
            assert state.digest(session.simulation) == fresh[number]


def test_the_digest_sees_what_matters(small, tmp_path):
    with opened(validate(small, "test"), tmp_path) as session:
        seen = set()
        for _ in range(60):
            session.step()
            seen.add(state.digest(session.simulation))
        assert len(seen) == 60


def test_a_recording_is_debugged_without_its_components(cli, tmp_path):
    assert cli("run", "prefill-decode", "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    with DebugSession.recorded(Recording(tmp_path / "rec")) as session:
        session.stops.add(RequestBreak(number=session.stops.number(), request=9))
        assert session.run() == "breakpoint 1: request 9 arrives"
        session.seek(session.frontier)
        session.stops.all.clear()
        stepped_about(session, seed=3)
        with pytest.raises(InputError, match="a recording has no components"):
            session.value("components/nvlink/state")
        write(session.simulation, tmp_path / "debugged", 0.0, Ending())
    assert files(tmp_path / "debugged") == files(tmp_path / "rec")


def test_reverse_continue_comes_to_the_last_stop_before(small, tmp_path):
    with opened(validate(small, "test"), tmp_path) as session:
        watch = session.stops.add(Watch(number=1, path="engines/a/kv/free"))
        forward = []
        while session.run() != "the run is complete":
            forward.append((session.position, session.reason))
        backward = []
        while session.back_to() != "start":
            backward.append((session.position, session.reason))
        assert backward[::-1] == forward and len(forward) > 50
        assert watch.hits == len(forward)  # going back counts no hits


def forked(small, tmp_path, run):
    """The run with an edit at event 120, made live and made after going back."""
    small["components"] = {name: {"run": run} for name in ("n0.accelerators", "n0.dram", "nvlink0")}
    results = []
    for ahead in (0, 300):
        with opened(validate(small, "test"), tmp_path, tmp_path / "logs") as session:
            session.seek(120 + ahead)
            session.seek(120)
            session.set("engines/a/config/max_num_seqs", "2")
            session.run()
            session.seek(60)  # and back over the edit
            session.run()
            write(session.simulation, tmp_path / f"{run}{ahead}", 0.0, Ending())
            results.append(files(tmp_path / f"{run}{ahead}"))
    assert results[0] == results[1]
    return results[0]


def test_a_fork_in_the_past_is_the_run_that_was_edited_there(small, tmp_path):
    inside = forked(small, tmp_path, "inprocess")
    assert inside == forked(small, tmp_path, "process")
    small["components"] = {}
    assert inside != plain(validate(small, "test"), tmp_path, tmp_path / "plain")


def test_a_fork_rebuilds_a_component_that_shares_the_clock():
    scenario, folder = load("prefill-decode", ("workload.num_requests=40",))
    ends = []
    for ahead in (0, 1000):
        with opened(scenario, folder) as session:
            session.seek(700 + ahead)
            session.seek(700)
            said = session.set("engines/decode/config/max_num_seqs", "3")
            assert ("nvlink#0 rebuilt from its" in said) == bool(ahead)
            session.run()
            ends.append([(s.request.id, s.end_ps) for s in session.simulation.recorder.done])
    assert ends[0] == ends[1]


def test_component_state_in_the_past_is_what_it_was(tmp_path):
    scenario, folder = load("prefill-decode", ("workload.num_requests=60",))
    with opened(scenario, folder) as session:
        live = {}
        while not session.ended:
            session.step()
            if session.position % 97 == 0:
                live[session.position] = session.value("components/nvlink/state")
        for number in random.Random(4).sample(sorted(live), 12):
            session.seek(number)
            assert session.value("components/nvlink/state") == live[number]
        assert session.inside.state_is("nvlink") in ("by snapshot", "by feeding it its messages again")


@pytest.mark.parametrize(
    ("path", "value", "why_not"),
    [
        ("engines/a/config/block_size", "32", "cannot be set; of a config"),
        ("engines/a/config/max_num_seqs", "0", "at least 1"),
        ("engines/a/config/max_num_seqs", "many", "whole number"),
        ("engines/a/config/enable_chunked_prefill", "3", "true or false"),
        ("engines/zz/config/max_num_seqs", "3", "there is a, b"),
        ("router/policy", "nonsense", "module:Class"),
        ("engines/a/kv/free", "3", "cannot be set"),
    ],
)
def test_a_bad_edit_is_refused_and_nothing_is_lost(small, tmp_path, path, value, why_not):
    with opened(validate(small, "test"), tmp_path) as session:
        session.seek(200)
        session.seek(100)
        with pytest.raises(InputError, match=why_not):
            session.set(path, value)
        assert session.frontier == 200 and not session.edits
        session.seek(200)


def test_a_watch_on_what_a_component_shows_of_itself():
    scenario, folder = load("prefill-decode", ("workload.num_requests=5",))
    with opened(scenario, folder) as session:
        watch = session.stops.add(Watch(number=1, path="components/nvlink/state/now_ps"))
        forward = []
        while session.run() != "the run is complete":
            forward.append(session.position)
        backward = []
        while session.back_to() != "start":
            backward.append(session.position)
        assert backward[::-1] == forward and watch.hits == len(forward) > 100


def test_a_recording_cannot_go_another_way(cli, tmp_path):
    assert cli("run", "slow-link", "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    with DebugSession.recorded(Recording(tmp_path / "rec")) as session:
        session.seek(100)
        with pytest.raises(InputError, match="a recording has no components"):
            session.set("engines/decode/config/max_num_seqs", "1")
        assert session.run() == "the run is complete"


def test_another_router_from_the_middle_on(small, tmp_path):
    with opened(validate(small, "test"), tmp_path) as session:
        session.seek(100)
        session.set("router/policy", "round-robin")
        session.run()
        assert session.value("router/class") == "RoundRobin"


FAILURES = [
    ("Dies", "dead", "process"),
    ("Hangs", "timeout", "process"),
    ("Late", "late", "process"),
    ("Late", "late", "inprocess"),
]


@pytest.mark.parametrize(("fake", "code", "run"), FAILURES)
def test_a_failure_stops_the_session_and_it_stays_usable(small, tmp_path, fake, code, run):
    on_failure = "fail" if run == "process" else "recover"
    options = {"model": f"tests.coupling.fakes:{fake}", "run": run, "timeout_s": 2, "on_failure": on_failure}
    small["components"] = {"n0.accelerators": options}
    with opened(validate(small, "test"), tmp_path, tmp_path / "logs") as session:
        catch = session.stops.add(Catch(number=1, what=code))
        reason = session.run()
        assert reason.startswith("failed: component n0.accelerators")
        assert isinstance(session.failure, ComponentFailure) and session.failure.code == code
        assert session.hit == [catch]
        end = session.position
        session.seek(end - 5)
        assert session.failure is None and session.position == end - 5
        assert session.value("engines/a/kv/size") == 399  # of 400 one is the null block
        assert session.run().startswith("failed: component n0.accelerators")  # the tape remembers the failure
        assert session.position == end


def test_going_beyond_the_end_is_refused(small, tmp_path):
    with opened(validate(small, "test"), tmp_path) as session:
        with pytest.raises(InputError, match="the run ends with event"):
            session.seek(10**6)
        assert session.ended
        session.seek(3)
        with pytest.raises(InputError, match="numbered from 1"):
            session.seek(0)


def test_a_run_of_many_events_keeps_few_checkpoints(small, tmp_path, monkeypatch):
    monkeypatch.setattr("metronome.orchestrator.debug.session.FIRST_SPACING", 4)
    with opened(validate(small, "test"), tmp_path) as session:
        session.run()
        assert len(session.checkpoints) <= MOST + 1 and session.checkpoints[0] == 1
        session.seek(37)
        assert session.position == 37


#: Weights come from drives.
COLD = (
    *(f"cluster.nodes.{node}.memory.nvme={{read_gb_s: 8, write_gb_s: 8, size_gib: 1000}}" for node in (0, 1)),
    "cluster.networks=[{name: pcie, connects: [n0.accelerators, n1.accelerators, n0.nvme, n1.nvme], type: pcie5-x16}]",
    "start_up={base_s: 3, weights_from: nvme}",
)


def test_every_event_that_happens_can_be_named_in_break(tmp_path):
    """API servers, a pipeline, prefill and decode apart, a network that shares the clock, failures and starts have all
    kinds there are."""
    seen = set()
    for name, overrides in (
        ("quickstart", ["workload.num_requests=5", "instances.0.engine.api_server_count=1"]),
        ("tensor-pipeline-parallel", ["workload.num_requests=20", "instances.0.engine.async_scheduling=false"]),
        ("prefill-decode-two-nodes", ["workload.num_requests=5"]),
        ("failover", ["router.report_period_s=1", *COLD]),
    ):
        scenario, folder = load(name, overrides)
        with opened(scenario, folder, tmp_path) as session:
            session.run()
            kinds = {session.row(number).kind for number in range(1, session.frontier + 1)}
            for kind in kinds:
                Moves(session).check_source("", kind)
        seen |= kinds
    assert seen >= set(EVENT_KINDS)
