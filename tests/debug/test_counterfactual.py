"""Counterfactuals: the other run is the one that the scenario with the change is."""

from __future__ import annotations

from dataclasses import replace

import metronome
import pytest
from metronome.orchestrator.debug.beside import Change, changed
from metronome.orchestrator.debug.charges import ledger
from metronome.orchestrator.debug.counterfactual import counterfactual
from metronome.orchestrator.debug.counterfactual_looks import as_json, lines
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.state import digest
from metronome.orchestrator.debug.why import why
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.record.recording import Recording
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import load, validate
from metronome.orchestrator.source import LiveSource

from .test_blame import opened
from .transcripts import FOLDER


def pd(overrides=()):
    scenario, folder = load(str(FOLDER / "pd.yaml"), overrides)
    return DebugSession.live(scenario, Inputs(folder), LiveSource(None))


def told(answer):
    """All of it but the steps, which were looked at for others, too."""
    return replace(answer, steps=[])


@pytest.mark.parametrize(
    "values",
    [
        {"cluster.networks.0.bandwidth_gb_s": 30},
        {"router.policy": "round-robin"},
        {"instances.2.engine.max_num_seqs": 2},
        {"cluster.nodes.0.accelerators.type": "h200"},
    ],
)
def test_the_other_run_is_that_of_the_scenario_with_the_change(values):
    with pd() as session, pd(values) as other:
        session.run()
        other.run()
        for request in (2, 8):
            found = counterfactual(session, request, Change((), values))
            assert told(found.there) == told(why(other, request))
            assert told(found.here) == told(why(session, request))


def test_a_request_is_left_out_and_the_others_are_as_they_were(tmp_path):
    """Against the same requests in a file, without that one."""
    rows = metronome.run(str(FOLDER / "pd.yaml")).requests
    lines_ = ["arrival,input,output"]
    lines_ += [f"{row['arrival'] / 1e9!r},{row['input']},{row['output']}" for row in rows]
    latencies = {}
    for left_out in (None, 4):
        kept = [line for number, line in enumerate(lines_, -1) if number != left_out]
        (tmp_path / "w.csv").write_text("\n".join(kept) + "\n")
        trace = {
            "path": "w.csv",
            "format": "csv",
            "columns": {"arrival": "arrival", "input_tokens": "input", "output_tokens": "output"},
        }
        scenario, _ = load(str(FOLDER / "pd.yaml"))
        content = {**scenario.model_dump(mode="json", exclude_unset=True), "workload": trace}
        with DebugSession.live(validate(content, "test"), Inputs(tmp_path), LiveSource(None)) as session:
            session.run()
            if left_out is None:
                latencies = {n: counterfactual(session, n, Change((4,))).there.total_ps for n in (5, 6, 8, 11)}
            else:
                assert {n: why(session, n - 1).total_ps for n in latencies} == latencies


def test_looking_changes_nothing():
    with pd() as session:
        session.seek(450)
        before = digest(session.simulation), session.position, session.frontier, len(session.tape.log)
        counterfactual(session, 5, Change((4,), {"cluster.networks.0.bandwidth_gb_s": 100}))
        with ledger(session) as books:
            books.charges(5)
        assert (digest(session.simulation), session.position, session.frontier, len(session.tape.log)) == before
        with pd() as plain:
            plain.run()
            session.run()
            assert digest(plain.simulation) == digest(session.simulation)


def test_the_tables_add_up_and_the_json_is_the_same():
    with pd() as session:
        session.run()
        found = counterfactual(session, 5, Change((), {"cluster.networks.0.bandwidth_gb_s": 30}))
        parts = found.parts().values()
        assert sum(here for here, _ in parts) == found.here.total_ps
        assert sum(there for _, there in parts) == found.there.total_ps
        shown = as_json(found)
        assert sum(part["there_ps"] - part["here_ps"] for part in shown["parts"]) == shown["difference_ps"]
        assert shown["bounds_ps"][0] <= shown["difference_ps"] <= shown["bounds_ps"][1]
        table = [line.split() for line in lines(found)[1:] if line.endswith(" ms") and line.count(" ms") == 3]
        rows, total = table[:-1], table[-1]
        assert total[0] == "sum" and len(rows) == len(shown["parts"])
        assert sum(float(row[-2]) for row in rows) == pytest.approx(float(total[-2]), abs=1e-4)


def test_the_runs_part_where_the_change_begins_to_matter():
    with pd() as session:
        session.run()
        arrival = next(n for n, row in enumerate(session.log, 1) if row.kind == "arrival" and row.about == 4)
        assert counterfactual(session, 5, Change((4,))).parts_at == arrival
        same = counterfactual(session, 5, Change((), {"instances.2.engine.max_num_seqs": 1000}))
        assert same.parts_at is None and same.saved_ps == 0 and same.otherwise() == []


def test_a_turn_that_would_not_be_sent_has_no_latency(tmp_path):
    """Turns of a session come after one another: without the first there is no second."""
    path = tmp_path / "turns.jsonl"
    path.write_text(
        '{"arrival_time_ns": 0, "sub_requests": [{"input_toks": 100, "output_toks": 5}, '
        '{"input_toks": 200, "output_toks": 5}]}\n'
    )
    scenario, _ = load(str(FOLDER / "short.yaml"))
    content = scenario.model_dump(mode="json", exclude_unset=True)
    content["workload"] = {"format": "llmservingsim", "path": str(path)}
    with DebugSession.live(validate(content, "test"), Inputs(tmp_path), LiveSource(None)) as session:
        session.run()
        first, second = sorted(state.request.id for state in session.simulation.recorder.done)
        with pytest.raises(InputError, match="is never sent in the other run"):
            counterfactual(session, second, Change((first,)))
        assert counterfactual(session, first, Change((second,))).saved_ps == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change((5,)), "the request that is asked about"),
        (Change((99,)), "none of that id"),
        (Change((), {"workload.num_requests": 3}), "another workload"),
        (Change((), {"seed": 3}), "another workload"),
        (Change((), {"cluster.networks.0.bandwith": 3}), "did you mean 'bandwidth_gb_s'"),
        (Change((), {"cluster.networks.0.bandwidth_gb_s": -3}), "greater than or equal"),
        (Change((), {"instances.0.engine.num_gpu_blocks_override": 1}), "not served in the other run"),
    ],
)
def test_a_change_that_cannot_be_is_refused(change, message):
    with pd() as session:
        session.run()
        with pytest.raises(InputError, match=message):
            counterfactual(session, 5, change)


def test_a_request_that_is_not_done_and_a_recording_are_refused(tmp_path):
    metronome.run(str(FOLDER / "pd.yaml"), tmp_path / "r", record=True)
    with DebugSession.recorded(Recording(tmp_path / "r")) as session:
        session.run()
        with pytest.raises(InputError, match="debug the scenario"):
            counterfactual(session, 5, Change((4,)))
    with pd() as session:
        session.seek(200)
        with pytest.raises(InputError, match="not done yet"):
            counterfactual(session, 5, Change((4,)))


def test_an_edited_run_has_no_other():
    with pd() as session:
        session.seek(300)
        session.set("engines/d/config/max_num_seqs", "3")
        session.run()
        with pytest.raises(InputError, match="this run is edited"):
            counterfactual(session, 5, Change((4,)))


def test_hits_that_are_lost_with_a_request_are_named():
    """Two prompts that begin alike: without the first the second is not found in the cache."""
    with opened({}, requests=4) as session:
        scenario = session.simulation.scenario
    content = scenario.model_dump(mode="json", exclude_unset=True)
    content["workload"]["shared_prefix"] = {"groups": 1, "tokens": 64}
    content["workload"]["request_rate"] = 2
    with DebugSession.live(validate(content, "test"), Inputs(FOLDER), LiveSource(None)) as session:
        session.run()
        found = counterfactual(session, 1, Change((0,)))
        assert found.here.cached == 64 and found.there.cached == 0 and found.saved_ps < 0
        assert found.otherwise() == ["0 tokens of its prompt are in the prefix cache there, not 64"]


def test_components_of_processes_are_asked_in_sessions_of_their_own():
    overrides = {"components": {"nvlink": {"run": "process"}}}
    with pd(overrides) as session, pd() as inside:
        session.run()
        inside.run()
        for change in (Change((4,)), Change((), {"cluster.networks.0.bandwidth_gb_s": 30})):
            assert as_json(counterfactual(session, 5, change)) == as_json(counterfactual(inside, 5, change))


def test_the_scenario_is_the_same_but_for_the_change():
    with pd() as session:
        assert changed(session, Change()) == session.simulation.scenario
        other = changed(session, Change((), {"router.policy": "random"}))
        assert other.router.policy == "random" and other.cluster == session.simulation.scenario.cluster
