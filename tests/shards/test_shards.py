"""A run in parts is that of one process, to the byte, however many parts there are and whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from array import array
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from metronome.orchestrator import api
from metronome.orchestrator.instruments import gaps, recorder
from metronome.orchestrator.power import past
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.shards import run as shards
from metronome.orchestrator.shards import work
from metronome.orchestrator.shards.exchange import Meeting
from metronome.orchestrator.shards.run import Task
from metronome.orchestrator.shards.work import CannotSplitError, compute

from ..conftest import interruptible
from ..sweep.test_cluster import dask, pids

FILES = ("requests.csv", "timeseries.csv", "failed.csv", "scenario.yaml")
ENGINE = {"max_num_seqs": 8, "max_num_batched_tokens": 512, "num_gpu_blocks_override": 90}


def fleet(**changes):
    """Five instances of four kinds: alone, tensor-parallel, data-parallel with experts, and SGLang's."""
    llama = {"model": "meta-llama/Llama-3.1-8B", "engine": ENGINE}
    instances = [
        {"name": "a", "accelerators": "n0[0:1]", **llama},
        {"name": "b", "accelerators": "n0[1:3]", "tensor_parallel_size": 2, **llama},
        {"name": "c", "accelerators": "n0[3:4]", **llama},
        {
            "name": "d",
            "model": "Qwen/Qwen3-30B-A3B-Instruct-2507",
            "accelerators": "n1[0:2]",
            "data_parallel_size": 2,
            "enable_expert_parallel": True,
            "engine": ENGINE,
        },
        {"name": "e", "accelerators": "n1[2:3]", **llama, "engine": {"version": "sglang-0.5.5"}},
    ]
    workload = {
        "format": "synthetic",
        "num_requests": 120,
        "request_rate": 60,
        "input_tokens": {"mean": 300, "max": 1500},
        "output_tokens": {"mean": 40, "max": 200},
        "shared_prefix": {"groups": 3, "tokens": 64},
    }
    nodes = [{"name": f"n{n}", "accelerators": {"type": "h100-sxm", "count": 4}} for n in range(2)]
    networks = [{"name": f"l{n}", "type": "nvlink4", "connects": [f"n{n}.accelerators"]} for n in range(2)]
    return {
        "name": "fleet",
        "seed": 5,
        "workload": workload,
        "cluster": {"nodes": nodes, "networks": networks},
        "instances": instances,
        "router": {"policy": "round-robin"},
        "slo": {"ttft_ms": 500, "tpot_ms": 30},
        **changes,
    }


class Here:
    """Parts one after another in this process, as the pool of a cluster does them elsewhere."""

    def map(self, tasks, done):
        for number, task in tasks:
            done(number, compute(*task))


@pytest.fixture
def here(monkeypatch):
    @contextmanager
    def opened(*_):
        yield Here()

    monkeypatch.setattr(shards, "opened", opened)


def written(folder: Path, content: dict) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def steady(metrics):
    """Without what differs from one run to the next."""
    found = json.loads(json.dumps(metrics))
    own = found["metronome"]
    for name in ("wall_s", "startup_s"):
        del own[name]
    for component in own["components"].values():
        del component["wall_s"]
    return found


def tables(result):
    return [list(map(tuple, table.rows)) for table in (result.requests, result.series, result.failures)]


def same(path: Path, parts: int, workers: int = 1) -> dict:
    """Runs it in one process and in parts; the figures, which are equal."""
    scenario, folder = load(str(path))
    alone = api.run(scenario, folder=folder)
    split, ended = shards.run(scenario, folder, Task(str(path), {}, workers, shards=parts))
    assert ended is None
    assert steady(split.metrics) == steady(alone.metrics)
    assert tables(split) == tables(alone)
    return alone.metrics


CHANGES = {"round-robin": {}, "random": {"router": {"policy": "random"}}, "another seed": {"seed": 77}}


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
@pytest.mark.parametrize("change", ["round-robin", "random", "another seed"])
def test_parts_give_the_bytes_of_one_process(here, tmp_path, change, parts):
    metrics = same(written(tmp_path, fleet(**CHANGES[change])), parts)
    own = metrics["metronome"]
    assert own["preemptions"] and own["prefix_hit_tokens"] and own["energy_j"]
    assert metrics["completed"] + metrics["failed"] == 120 and metrics["completed"] > 100


def test_requests_that_are_refused_are_in_the_parts_that_refuse_them(here, tmp_path):
    content = fleet()
    content["instances"][0]["engine"] = {**ENGINE, "max_model_len": 400}
    metrics = same(written(tmp_path, content), 2)
    assert metrics["failed"] > 0


def test_requests_that_are_given_up_are_nothing_to_other_instances(here, tmp_path):
    content = fleet()
    content["workload"]["abort_after_s"] = 0.4
    metrics = same(written(tmp_path, content), 3)
    assert 0 < metrics["failed"] < 120


def test_gaps_that_were_put_together_on_the_way_are_the_same(here, tmp_path, monkeypatch):
    """A long run makes equal gaps one when it has many, a part of it later or never."""
    monkeypatch.setattr(gaps, "MOST_SINGLE", 1500)
    path = written(tmp_path, fleet())
    same(path, 2)
    same(path, 4)


def test_books_that_were_closed_on_the_way_are_the_same(here, tmp_path, monkeypatch):
    """A long run makes rows of energy numbers of seconds; a part of it does not, and the whole at its end."""
    monkeypatch.setattr(past, "MOST_ROWS", 400)
    monkeypatch.setattr(recorder, "TAKEN_STEPS", 100)
    content = fleet()
    content["cluster"]["nodes"][0]["power"] = {"base_w": 100, "parts": {"cpu": {"idle_w": 50, "busy_w": 200}}}
    path = written(tmp_path, content)
    same(path, 2)
    same(path, 3)


REPORTED = {"router": {"policy": "least-loaded", "report_period_s": 0.05}}


@pytest.mark.parametrize("parts", [2, 4])
def test_routers_that_see_reports_see_those_of_all_parts(tmp_path, parts):
    """Parts go ahead until the next reports, and tell one another theirs."""
    path = written(tmp_path, fleet(**REPORTED))
    assert same(path, parts, parts)["completed"] > 100
    loaded, folder = load(str(path))
    blind = api.run(load(str(path), {"router.report_period_s": 1000})[0], folder=folder)
    assert blind.metrics["mean_ttft_ms"] != api.run(loaded, folder=folder).metrics["mean_ttft_ms"]


def test_reports_need_a_process_for_each_part(tmp_path):
    path = written(tmp_path, fleet(**REPORTED))
    scenario, folder = load(str(path))
    with pytest.raises(CannotSplitError, match="a process here for each"):
        shards.run(scenario, folder, Task(str(path), {}, 1, shards=2))


def test_a_meeting_waits_for_those_who_run_and_tells_again_who_begins_again():
    meeting, told = Meeting(3), []

    def reported(part, time_ps):
        row = array("d", [part])
        meeting.reported(part, time_ps, row, lambda rows: told.append((part, time_ps, sorted(rows))))

    reported(0, 10)
    reported(1, 10)
    assert not told
    reported(1, 10)  # its worker was killed, and its part begun again
    reported(2, 10)
    assert sorted(told) == [(part, 10, [0, 1, 2]) for part in range(3)]
    reported(0, 20)
    reported(2, 10)
    assert told[3:] == [(2, 10, [0, 1, 2])]
    meeting.ended(1)
    reported(2, 20)
    assert sorted(told[4:]) == [(0, 20, [0, 2]), (2, 20, [0, 2])]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"router": {"policy": "least-loaded"}}, "router.policy least-loaded looks at all instances"),
        ({"router": {"policy": "prefix-aware", "report_period_s": 1}}, "looks at more than is reported"),
        ({"router": {"policy": "round-robin", "max_waiting": 3}}, "router.max_waiting"),
        ({"instances": fleet()["instances"][:1]}, "one instance"),
        ({"components": {"n0.accelerators": {"run": "process"}}}, "n0.accelerators has one process"),
        ({"workload": {**fleet()["workload"], "max_concurrency": 4, "request_rate": "inf"}}, "clients send when"),
    ],
)
def test_what_cannot_be_split_says_why(here, tmp_path, change, why):
    path = written(tmp_path, fleet(**change))
    scenario, folder = load(str(path))
    with pytest.raises((CannotSplitError, shards.PartFailure), match=f"cannot be split: .*{why}") as refused:
        shards.run(scenario, folder, Task(str(path), {}, 1, shards=2))
    assert refused.value.exit_code == 2


def test_turns_of_sessions_depend_on_whoever_served_the_one_before(here, tmp_path):
    turn = {"input_toks": 50, "output_toks": 5, "tool_duration_ns": 10**7}
    row = {"arrival_time_ns": 0, "session_id": "s", "sub_requests": [turn, turn]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    path = written(tmp_path, fleet(workload={"format": "llmservingsim", "path": "rows.jsonl"}))
    scenario, folder = load(str(path))
    with pytest.raises(shards.PartFailure, match="cannot be split: request 0 is a turn of a session") as refused:
        shards.run(scenario, folder, Task(str(path), {}, 1, shards=2))
    assert refused.value.exit_code == 2


def test_prefill_and_decode_share_their_requests(here):
    change = {"router.policy": "round-robin"}
    scenario, folder = load("prefill-decode", change)
    with pytest.raises(CannotSplitError, match="prefill and decode are apart"):
        shards.run(scenario, folder, Task("prefill-decode", change, 1, shards=2))


def test_the_command_writes_the_files_of_one_process(cli, tmp_path):
    path = written(tmp_path, fleet())
    for workers in (1, 2):
        done = cli("run", path, "-o", tmp_path / str(workers), "--workers", workers, "--seed", 9)
        assert done.exit_code == 0, done.output
    one, two = tmp_path / "1", tmp_path / "2"
    for name in FILES:
        assert (one / name).exists() == (two / name).exists()
        assert not (one / name).exists() or (one / name).read_bytes() == (two / name).read_bytes()
    assert (two / "report.html").exists() and not (two / "running.json").exists()
    results = [steady(json.loads((folder / "result.json").read_text())) for folder in (one, two)]
    assert results[0] == results[1] and results[0]["metronome"]["seed"] == 9


@pytest.mark.parametrize("more", [("--record",), ("--trace",), ("--intervals",)])
def test_what_is_of_one_process_is_refused(cli, tmp_path, more):
    done = cli("run", written(tmp_path, fleet()), "-o", tmp_path / "out", "--workers", 2, *more)
    assert done.exit_code == 2 and "these are of one process" in done.output


def children(pid):
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def cpu_s(pid):
    """CPU seconds so far (fields 14 and 15 of proc(5) stat); 0 where it is gone, or waits for its parent's look."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return 0.0 if state == "Z" else sum(map(int, rest[10:12])) / os.sysconf("SC_CLK_TCK")


def started(path, out, *more):
    """`metronome run` over two workers, and its workers' processes when they simulate."""
    command = [sys.executable, "-m", "metronome", "run", path, "-o", out, "--workers", "2", "--quiet", *more]
    process = interruptible(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        workers = [pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if len(workers) == 2 and min(map(cpu_s, workers)) > 1.5:
            return process, workers
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("its workers did not start")


def long(**changes):
    content = fleet(**changes)
    content["workload"] = {**content["workload"], "num_requests": 6000, "request_rate": 30}
    return content


@pytest.mark.parametrize("change", [{}, REPORTED])
def test_a_worker_that_is_killed_is_replaced(tmp_path, cli, change):
    path = written(tmp_path, long(**change))
    assert cli("run", path, "-o", tmp_path / "one", "--quiet").exit_code == 0
    process, workers = started(path, tmp_path / "two")
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(120) == 0, process.stderr.read()
    for name in FILES:
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert not one.exists() or one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_that_is_interrupted_leaves_what_its_parts_had(tmp_path, number, code):
    process, workers = started(written(tmp_path, long()), tmp_path / "out")
    process.send_signal(number)
    assert process.wait(60) == code, process.stderr.read()
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["metronome"]["status"] == "interrupted" and 0 < result["completed"] < 6000
    assert not any(map(cpu_s, workers))


def test_a_part_that_fails_ends_the_run_with_what_the_others_had(here, tmp_path, monkeypatch):
    path = written(tmp_path, fleet())
    scenario, folder = load(str(path))
    simulate = work._run

    def fails(simulation):
        found = simulate(simulation)
        first = 0 not in simulation.dispatcher.elsewhere
        return (work.Ending("failed", "component n0.accelerators: is gone"), 3) if first else found

    monkeypatch.setattr(work, "_run", fails)
    result, ended = shards.run(scenario, folder, Task(str(path), {}, 1, shards=2))
    assert ended.exit_code == 3 and "is gone" in str(ended)
    assert result.status == "failed" and result.metrics["completed"] > 100


def test_parts_on_two_nodes_of_a_cluster_whoever_is_killed(tmp_path, cli):
    path = written(tmp_path, long())
    assert cli("run", path, "-o", tmp_path / "one", "--quiet").exit_code == 0
    with dask(tmp_path) as address:
        where = ("--cluster", address, "--workers", "3")
        command = [sys.executable, "-m", "metronome", "run", path, "-o", tmp_path / "two", "--quiet", *where]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        time.sleep(4)
        from metronome.orchestrator.sweep.places import Cluster

        os.kill(pids(Cluster(address, tmp_path))[0], signal.SIGKILL)
        assert process.wait(180) == 0, process.stderr.read()
    for name in FILES:
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert not one.exists() or one.read_bytes() == two.read_bytes()
