"""API servers: one thing after another, the tokens of a step together, and never before the engine."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.debug import looks, state
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.why import why
from metronome.orchestrator.report.metrics import latencies
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.serving.api_server import ApiServers, ServerModel
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource

from ..accuracy import api_server

MODEL = ServerModel(request_latency_ps=1000, request_ps=100, prompt_token_ps=2, output_ps=10, output_latency_ps=500)
ONE = "instances.0.engine.api_server_count=1"
BOTH = (ONE, "instances.1.engine.api_server_count=1")


def test_a_request_and_a_step_take_what_they_take():
    servers = ApiServers(MODEL, 1)
    assert servers.receive(30, now_ps=7) == 7 + 160 + 1000
    assert servers.receive(0, now_ps=7) == 167 + 100 + 1000  # after the first
    assert servers.deliver(4, now_ps=200) == 267 + 40 + 500  # after both
    assert servers.deliver(4, now_ps=10_000) == 10_000 + 40 + 500
    assert servers.deliver(0, now_ps=20_000) == 20_000


def test_several_share_a_steps_tokens_and_take_requests_in_turn():
    servers = ApiServers(MODEL, 2)
    assert [servers.receive(0, now_ps=0) for _ in range(3)] == [1100, 1100, 1200]
    assert ApiServers(MODEL, 2).deliver(5, now_ps=0) == 3 * 10 + 500


def test_without_a_server_everything_is_at_once():
    assert ApiServers(MODEL, 0).receive(100, now_ps=5) == 5
    assert ApiServers(MODEL, 0).deliver(100, now_ps=5) == 5


WORK = st.lists(st.tuples(st.integers(0, 500), st.booleans(), st.integers(0, 50)), min_size=1, max_size=50)


@given(work=WORK, count=st.integers(1, 4))
def test_nothing_overtakes_and_no_server_works_on_two_things(work, count):
    servers, now, last, busy = ApiServers(MODEL, count), 0, 0, 0
    for later, is_request, size in work:
        now += later
        if is_request:
            assert servers.receive(size, now) >= now + 1100 + 2 * size
            busy += 100 + 2 * size
        elif size:
            delivered = servers.deliver(size, now)
            assert delivered >= max(last, now + 500 + 10 * -(-size // count))
            last, busy = delivered, busy + 10 * size
    assert count * max(servers.free_ps) >= busy  # what they did fits in what they had


def run(*settings, name="quickstart"):
    scenario, folder = load(name, ("workload.num_requests=20", *settings))
    simulation = Simulation(scenario, folder)
    with simulation:
        simulation.run()
    return simulation


def test_a_client_sees_more_than_the_engine():
    engine, client = run(), run(*BOTH)
    times = [latencies(s.recorder.so_far()) for s in (engine, client)]
    assert (times[1].ttft > times[0].ttft + 6).all()  # 6 ms on the way in and out, at least
    for sequence in client.recorder.done:
        assert sequence.request.arrival_ps < sequence.received_ps <= sequence.queued_ps <= sequence.scheduled_ps
        assert sequence.scheduled_ps < sequence.first_token_ps <= sequence.end_ps
    total = sum(s.request.output_tokens - 1 for s in client.recorder.done)
    assert int(times[1].itl_weights.sum()) == total == int(times[0].itl_weights.sum())
    for log in client.recorder.logs:
        assert all(end < there for end, there in zip(log.end_ps, log.delivered_ps, strict=True) if end)
        assert list(log.delivered_ps) == sorted(log.delivered_ps)
    for log in engine.recorder.logs:
        assert log.end_ps == log.delivered_ps


def test_a_slow_server_holds_back_its_clients_and_not_the_engine():
    """A step of 256 tokens keeps one server for 20 ms; four, each with a quarter of them, for 5."""
    many = (
        "workload.num_requests=512",
        "workload.request_rate=100000",
        "workload.output_tokens.max=40",
        "instances.0.engine.max_num_seqs=256",
        "instances.1.engine.max_num_seqs=256",
        "instances.0.engine.num_gpu_blocks_override=20000",
        "instances.1.engine.num_gpu_blocks_override=20000",
    )
    ends = []
    for count in (1, 4):
        done = run(*many, *(f"instances.{n}.engine.api_server_count={count}" for n in (0, 1)))
        lag = [
            there - end for log in done.recorder.logs for end, there in zip(log.end_ps, log.delivered_ps, strict=True)
        ]
        ended = [state.end_ps for state in done.recorder.done]
        ends.append((max(lag), sum(ended), max(ended) - done.kernel.now_ps))
    assert ends[0][0] > 2 * ends[1][0]
    assert ends[0][1] > ends[1][1]
    assert ends[0][2] > 0  # the engine is done before the last client is


def test_it_fits_what_was_measured():
    """Each mean error is below a quarter; the measurements themselves differ by as much from run to run."""
    rows = api_server.rows()
    assert len(rows) == 8 and all(abs(row.error) < 0.25 for row in rows)
    file = api_server.Path(api_server.__file__).parent / "vllm-0.12.csv"
    with file.open() as lines:
        assert {row["what"] for row in csv.DictReader(lines)} == {"one token", "streams"}


@pytest.mark.parametrize("name", ["quickstart", "prefill-decode"])
def test_why_tells_it_apart_and_still_adds_up(name):
    scenario, folder = load(name, ("workload.num_requests=12", *BOTH))
    with DebugSession.live(scenario, Inputs(folder), LiveSource()) as session:
        session.run()
        for sequence in session.simulation.recorder.done:
            answer = why(session, sequence.request.id)
            assert sum(answer.before.values()) == sequence.first_token_ps - sequence.request.arrival_ps
            assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps
            assert answer.before["host", "API server and client"] >= 7 * 10**9
            assert min([*answer.before.values(), *answer.after.values()]) > 0
        end = session.position
        for position in range(10, end, end // 7):  # in the middle of everything
            session.seek(position)
            for one in session.simulation.replicas:
                blocked = looks.blocked(session)
                assert all(f"request {s.request.id} is in an API server of {one.name}" in blocked for s in one.coming)
                assert {s.request.id for s in one.coming} <= set(state.engine(one)["waiting_requests"])
            for row in session.log[:position]:
                if row.kind == "arrival":
                    answer = why(session, row.about) if row.about in open_requests(session) else None
                    assert answer is None or sum((answer.before + answer.after).values()) == answer.total_ps


def test_a_request_that_has_come_through_waits_for_the_engine():
    """Received, and not yet looked at: no host works on it."""
    scenario, folder = load("quickstart", ("workload.num_requests=20", *BOTH))
    with DebugSession.live(scenario, Inputs(folder), LiveSource()) as session:
        session.run()
        seen = 0
        for position, row in enumerate(list(session.log), 1):
            if row.kind != "received" or row.time_ps == session.log[position].time_ps:
                continue
            session.seek(position + 1)
            if (
                next(
                    s for one in session.simulation.replicas for s in one.requests() if s.request.id == row.about
                ).queued_ps
                < 0
            ):
                answer, seen = why(session, row.about), seen + 1
                assert set(answer.before + answer.after) == {
                    ("host", "API server and client"),
                    ("waiting", "for the engine's next step"),
                }
        assert seen


def open_requests(session):
    return {s.request.id for engine in session.simulation.replicas for s in engine.requests()}


def test_a_turn_follows_the_clients_last_token(tmp_path):
    turns = [{"input_toks": 30, "output_toks": 2, "tool_duration_ns": 9}, {"input_toks": 60, "output_toks": 1}]
    (tmp_path / "w.jsonl").write_text(json.dumps({"session_id": "s", "arrival_time_ns": 5, "sub_requests": turns}))
    scenario, _ = load("quickstart", (f"workload={{format: llmservingsim, path: {tmp_path}/w.jsonl}}", *BOTH))
    with Simulation(scenario, tmp_path) as simulation:
        simulation.run()
    first, second = simulation.recorder.done
    assert second.request.arrival_ps == first.end_ps + 9000 > simulation.recorder.logs[0].end_ps[1] + 9000


def test_no_token_overtakes_the_one_before_it_through_another_engines_servers():
    """Prompts keep the prefill engine's one server busy for a second, the decode engine has four."""
    settings = (
        "workload.num_requests=300",
        "workload.request_rate=100000",
        "workload.output_tokens.max=8",
        ONE,
        "instances.1.engine.api_server_count=4",
    )
    done = run(*settings, name="prefill-decode").recorder
    times = latencies(done.so_far())
    assert times.itl.min() >= 0 and times.tpot[times.tpot == times.tpot].min() >= 0
    assert all(s.end_ps >= s.first_token_ps for s in done.done)


def test_the_flag_is_checked(cli, tmp_path):
    done = cli("run", "quickstart", "-o", tmp_path, "--set", "instances.0.engine.api_server_count=-1")
    assert done.exit_code == 2 and "api_server_count" in done.output
    assert not (tmp_path / "result.json").exists()


def test_results_are_the_clients(cli, tmp_path):
    for count in (0, 1):
        assert (
            cli(
                "run",
                "quickstart",
                "-o",
                tmp_path / str(count),
                "--quiet",
                "--set",
                "workload.num_requests=20",
                *(part for n in (0, 1) for part in ("--set", f"instances.{n}.engine.api_server_count={count}")),
            ).exit_code
            == 0
        )
    engine, client = (json.loads((tmp_path / str(n) / "result.json").read_text()) for n in (0, 1))
    assert client["mean_ttft_ms"] > engine["mean_ttft_ms"] + 6
    assert client["mean_tpot_ms"] == pytest.approx(engine["mean_tpot_ms"], rel=0.02)
