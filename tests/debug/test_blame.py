"""What a request waited for, and who held it; whose prompts a step computes; all requests at once."""

from __future__ import annotations

import io

import pytest
from metronome.orchestrator.debug import why_looks
from metronome.orchestrator.debug.console import Console
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.why import why, why_all
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import load, validate
from metronome.orchestrator.source import LiveSource

from .transcripts import FOLDER

PREEMPTIVE = {"num_gpu_blocks_override": 60}
SHORT = (
    ("for KV blocks", {"num_gpu_blocks_override": 140}),
    ("for a place", {"max_num_seqs": 2}),
    ("for budget: max_num_batched_tokens are in the step", {"max_num_batched_tokens": 64}),
)


def opened(engine, version="vllm-0.19", requests=10):
    lengths = {"input_tokens": {"mean": 300, "max": 900}, "output_tokens": {"mean": 20, "max": 40}}
    made = {
        "name": "short",
        "seed": 5,
        "workload": {"format": "synthetic", "num_requests": requests, "request_rate": 200, **lengths},
        "cluster": {"nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 1}}]},
        "instances": [
            {
                "name": "a",
                "model": "meta-llama/Llama-3.1-8B",
                "accelerators": "n0[0:1]",
                "engine": {"version": version, **engine},
            }
        ],
    }
    return DebugSession.live(validate(made, "test"), Inputs(FOLDER), LiveSource(None))


@pytest.mark.parametrize(("what", "engine"), SHORT)
def test_a_wait_names_what_was_short_and_who_had_it(what, engine):
    with opened(engine) as session:
        session.run()
        waited = [answer for answer in why_all(session) if ("waiting", what) in answer.before]
        assert len(waited) > 2
        for answer in waited:
            held = answer.held["waiting", what]
            assert held and min(held.values()) > 0 and answer.request not in held


def test_holders_of_blocks_are_those_that_had_them():
    """Against the engine itself, asked at every event of the wait."""
    with opened({"num_gpu_blocks_override": 60}, requests=6) as session:
        session.run()
        answer = max(why_all(session), key=lambda one: one.before["waiting", "for KV blocks"])
        holders, arrival = set(), session.simulation.recorder
        start = next(s.request.arrival_ps for s in arrival.done if s.request.id == answer.request)
        session.seek_time(start)
        while session.now_ps < start + answer.first_ps:
            engine = session.simulation.replicas[0].engine
            holders |= {one.request.id for one in engine.requests() if engine.look(one).blocks}
            session.step()
        assert set(answer.held["waiting", "for KV blocks"]) <= holders - {answer.request}


def test_a_request_that_still_waits_says_for_what():
    with opened({"max_num_seqs": 1}) as session:
        session.seek(60)
        waiting = session.simulation.replicas[0].engine.view().waiting
        answer = why(session, waiting[0])
        (_, longest), took = answer.before.most_common(1)[0]
        assert longest == "for a place" and took > answer.total_ps // 2
        assert sum(answer.before.values()) == answer.total_ps


@pytest.mark.parametrize("name", ["pd", "kv", "sglang"])
def test_all_requests_at_once_are_each_alone(name):
    if name == "pd":
        scenario, folder = load(str(FOLDER / "pd.yaml"))
        session = DebugSession.live(scenario, Inputs(folder), LiveSource(None))
    else:
        session = opened(
            PREEMPTIVE if name == "kv" else {"max_num_seqs": 3}, "vllm-0.19" if name == "kv" else "sglang-0.5.5", 6
        )
    with session:
        session.run() if name == "sglang" else session.seek(150)
        for answer in why_all(session):
            alone = why(session, answer.request)
            assert (alone.before, alone.after, alone.held) == (answer.before, answer.after, answer.held)
            assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps


def test_the_largest_layers_have_names_and_their_times_add_up():
    with opened({}, requests=3) as session:
        session.run()
        for step in why(session, 1).steps:
            layers = [part.layer for part in step.path() if part.component == "n0.accelerators"]
            assert {"gate_up_proj", "down_proj", "qkv_proj"} <= set(layers)
            assert not any(" more" in layer for layer in layers)
            assert sum(part.took_ps for part in step.path()) == step.end_ps - step.start_ps


def test_a_step_says_whose_prompts_it_computes():
    with opened({}, requests=6) as session:
        session.run()
        computed = {answer.request: answer for answer in why_all(session)}
        for number, answer in computed.items():
            assert sum(step.decided.prompts.get(number, 0) for step in answer.steps) == answer.prompt
        shown = why_looks.because(session, 1)
        assert any("by share of its" in line and "of request 1" in line for line in shown)


def test_the_table_adds_up_and_the_slowest_come_first():
    with opened({"max_num_seqs": 2}) as session:
        session.run()
        head, *rows, total = why_looks.table(session)
        assert head.split()[:3] == ["request", "latency", "ms"] and len(rows) == 10
        whole, *parts, joules = map(float, total.split()[1:])
        assert sum(float(row.split()[1]) for row in rows) == pytest.approx(whole, abs=1e-5)
        assert sum(parts) == pytest.approx(whole, abs=1e-5) and joules > 0
        slowest = [row.split()[0] for row in why_looks.table(session, 3)[1:-1]]
        by_latency = sorted(rows, key=lambda row: -float(row.split()[1]))
        assert slowest == [row.split()[0] for row in by_latency[:3]]


@pytest.mark.parametrize("line", ["why --slowest", "why --slowest many", "why --most 3", "why 1 2 3"])
def test_what_why_cannot_do_is_refused(line):
    out = io.StringIO()
    with opened({}, requests=2) as session:
        console = Console(session, stdin=io.StringIO(), stdout=out)
        console.onecmd(line)
        assert console.failed == 1 and out.getvalue().startswith("error: ")


def test_tree_without_a_path():
    out = io.StringIO()
    with opened({}, requests=2) as session:
        console = Console(session, stdin=io.StringIO(), stdout=out)
        console.onecmd("tree")
        assert not console.failed
        assert "engines/" in out.getvalue() and "state = none: each answer is a function of" in out.getvalue()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("why --slowest 0", "'0': must be a number of requests, at least 1"),
        ("why --slowest -3", "'-3': must be a number of requests, at least 1"),
        ("why --slowest 0 --json", "'0': must be a number of requests, at least 1"),
        ("why --all with seed=1", "what if is asked of one request: why REQUEST with PATH=VALUE"),
        ("why --slowest 3 without 1", "what if is asked of one request"),
        ("why --all without 2 --json", "what if is asked of one request"),
    ],
)
def test_what_why_is_not_asked_of_is_said(line, says):
    out = io.StringIO()
    with opened({}, requests=2) as session:
        Console(session, stdin=io.StringIO(), stdout=out).onecmd(line)
    assert says in out.getvalue()
