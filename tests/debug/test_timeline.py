"""The timeline of a session: told everything once, the same wherever a session goes; and forks, which have their own."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.debug import state
from metronome.orchestrator.debug.forks import fork
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.timeline import OPEN, Slices, Timeline, _pieces
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.record.recording import Recording
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.source import LiveSource

FEW = {"workload.num_requests": 20}


def opened(name: str, timeline: Timeline | None = None) -> DebugSession:
    scenario, folder = load(name, FEW, None)
    return DebugSession.live(scenario, Inputs(folder), LiveSource(), timeline)


def content(timeline: Timeline) -> dict:
    labels = timeline.labels
    return {
        key: [
            list(zip(row.start, row.end, row.begun, row.ended, (labels[n] for n in row.label), row.about, strict=True))
            for row in track.rows
        ]
        for key, track in timeline.tracks.items()
    }


NAMES = ["slow-link", "quickstart", "expert-parallel", "pipeline-parallel", "prefill-decode-layerwise", "pim-attention"]


@pytest.mark.parametrize("name", NAMES)
def test_going_to_and_fro_tells_nothing_twice(name):
    timeline = Timeline()
    with opened(name, timeline) as session, opened(name) as plain:
        session.run()
        end, once = session.position, content(timeline)
        for place in (end // 2, end // 3, end - 1, 1):
            session.seek(place)
            session.step()
        session.seek(end // 2)
        session.run()
        assert content(timeline) == once
        plain.run()
        assert state.digest(session.simulation) == state.digest(plain.simulation), "looking on changes nothing"


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_every_step_and_every_request_to_its_end(name):
    timeline = Timeline()
    with opened(name, timeline) as session:
        session.run()
        simulation = session.simulation
        slices = {key: [one for row in rows for one in row] for key, rows in content(timeline).items()}
        for rows in content(timeline).values():
            for row in rows:
                assert all(one[1] <= other[0] for one, other in pairwise(row)), "one after another"
        assert not [one for all_ in slices.values() for one in all_ if one[1] == OPEN], "nothing is left open"
        spans: dict[int, list[int]] = {}
        for start, end, *_, request in sorted(slices["requests", ""]):
            before = spans.setdefault(request, [start, start])
            assert start == before[1], "without a gap"
            before[1] = end
        assert spans == {s.request.id: [s.request.arrival_ps, s.end_ps] for s in simulation.recorder.done}
        recorder = simulation.recorder
        for replica in (loop.members[0] for loop in simulation.loops if len(loop.members) == 1):
            landed = sum(len(recorder.logs[lane].end_ps) for lane in recorder.lanes_of[replica.number])
            assert len(slices["instance", replica.name]) == landed > 0


rows = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(0, 4000), st.integers(1, 4000), st.integers(1, 50), st.booleans())
def test_pieces_of_a_window_are_its_slices_added_up(gaps, start, span, width, last_open):
    row, reached = Slices(), 0
    for number, (gap, took) in enumerate(gaps):
        begin = reached + gap
        reached = begin + took
        is_open = last_open and number == len(gaps) - 1
        row.add(begin, OPEN if is_open else reached, number + 1, 0, number)
    found = _pieces(row, start, span, width)
    inside = [
        (begin, start + span if end == OPEN else min(end, start + span), about)
        for begin, end, about in zip(row.start, row.end, row.about, strict=True)
        if begin <= start + span and (end == OPEN or end >= start)
    ]
    assert sum(found["many"]) == len(inside)
    assert sum(found["busy"]) == sum(end - max(begin, start) for begin, end, _ in inside)
    assert len(found["x"]) <= max(width + 2, 1)
    if len(inside) <= width:
        assert [
            (x + start, end + start, a) for x, end, a in zip(found["x"], found["end"], found["about"], strict=True)
        ] == inside


def test_a_window_of_a_picosecond_is_exact_at_the_end_of_days():
    row = Slices()
    row.add(2**62, 2**62 + 1, 1, 0, 7)
    assert _pieces(row, 2**62 - 1, 3, 100)["x"] == [1]


# Forks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slow-link", "quickstart", "shared-uplink"])
def test_a_fork_goes_on_as_the_run_does_and_leaves_it_alone(name):
    timeline, own = Timeline(), Timeline()
    with opened(name, timeline) as session:
        session.run()
        end = session.position
        session.seek(end // 2)
        here = state.digest(session.simulation)
        with fork(session, LiveSource(), own) as other:
            assert (other.position, state.digest(other.simulation)) == (session.position, here)
            assert other.frontier == other.position, "what comes is not known to it"
            other.run()
            assert other.log == session.log and content(own) == content(timeline)
            other.seek(3)
            assert other.position == 3
        assert session.position == end // 2 and state.digest(session.simulation) == here


def test_a_fork_with_another_value_is_what_set_makes(tmp_path):
    edit = "engines/chat-0/config/max_num_seqs", "2"
    with opened("quickstart") as session, opened("quickstart") as plain:
        session.run()
        session.seek(200)
        plain.seek(200)
        plain.set(*edit)
        plain.run()
        with fork(session, LiveSource()) as other:
            other.set(*edit)
            other.run()
            assert other.log == plain.log != session.log
            other.seek(150)
            with fork(other, LiveSource()) as third:  # before the edit: of the first way
                assert not third.edits
                third.run()
                assert third.log == session.log
            other.seek(300)
            with fork(other, LiveSource()) as third:
                third.run()
                assert third.log == plain.log, "a fork of a fork keeps its edit"


@pytest.mark.filterwarnings("ignore::metronome.orchestrator.errors.NoEffectWarning")
def test_a_fork_of_a_recording_has_components(tmp_path, cli):
    assert cli("run", "slow-link", "-o", tmp_path, "--record", "--quiet").exit_code == 0
    with DebugSession.recorded(Recording(tmp_path)) as session:
        session.run()
        session.seek(474)
        with pytest.raises(InputError, match="has no components"):
            session.set("router/policy", "round-robin")
        with fork(session, LiveSource()) as other:
            other.set("router/policy", "round-robin")
            other.run()
            assert other.ended and other.log != session.log


def test_a_search_back_can_be_interrupted_and_is_where_it_was():
    with opened("slow-link") as session:
        session.run()
        session.seek(1000)
        search = session.searching_back()
        next(search)
        assert session.position != 1000
        session.interrupted = True
        with pytest.raises(StopIteration) as found:
            while True:
                next(search)
        assert (found.value.value, session.position) == ("interrupted", 1000)


def test_going_back_step_by_step_copies_little_again():
    """A little before where a session went is one more checkpoint, so the next steps back play few events again."""
    with opened("quickstart") as session:
        session.run()
        session.seek(250)
        acted, step = [], session.step
        session.step = lambda: (acted.append(session.position), step())[1]
        for place in range(249, 225, -1):
            session.seek(place)
            assert session.position == place
        assert max(acted.count(n) for n in acted) <= 24 and len(acted) < 24 * 33
