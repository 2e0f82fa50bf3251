"""A dead, hung, lying or slow component is found, named, and the run ends with what it had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import metronome
import pytest
import yaml
from metronome.orchestrator.errors import ComponentFailure, MetronomeError
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import write
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource

from ..conftest import ROOT, interruptible, wait_until_under_way

FAKES = "tests.coupling.fakes"


def scenario(small, component, model, **options):
    if options.get("run") == "process":
        options.setdefault("on_failure", "fail")  # else: test_recovery.py
    return {**small, "components": {component: {"model": f"{FAKES}:{model}", **options}}}


def run(data, tmp_path):
    with Simulation(validate(data, "test"), tmp_path, LiveSource(tmp_path / "logs")) as simulation:
        simulation.run()


def accelerator(small, model, where, **options):
    return scenario(small, "n0.accelerators", model, device="h100-sxm", run=where, **options)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Dies", "n0.accelerators: was killed by SIGKILL .while doing .*the end is near"),
        ("Raises", "n0.accelerators: ZeroDivisionError"),
        ("Leaves", "n0.accelerators: SystemExit: 0"),
        ("Forgets", "n0.accelerators: answered 0 of"),
        ("Repeats", "which it was not asked again"),
        ("RunsBack", "before its start 5"),
    ],
)
def test_a_component_process_that_fails(small, tmp_path, model, message):
    started = time.monotonic()
    with pytest.raises(ComponentFailure, match=f"(?s){message}"):
        run(accelerator(small, model, "process"), tmp_path)
    assert time.monotonic() - started < 15
    assert children() == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("BreaksPromise", "promised to act at 1000000000 ps and did not"),
        ("OverReaches", "beyond its grant"),
        ("RunsOn", "n0.dram: says it is at 1 ps, and was at [0-9]+ ps before"),
        ("PromisesThePast", "n0.dram: promises to act at 0 ps, and is at [0-9]+ ps already"),
        ("Radiates", "n0.dram: says operation [0-9]+ took 4611686018427387904 pJ"),
        ("Owes", "n0.dram: says operation [0-9]+ took -7 pJ"),
        ("FallsSilent", "n0.dram: has not completed operation 0"),
    ],
)
@pytest.mark.parametrize("where", ["inprocess", "process"])
def test_a_stepped_component_that_lies(small, tmp_path, model, message, where):
    with pytest.raises(MetronomeError, match=message) as error:
        run(scenario(small, "n0.dram", model, bandwidth_gb_s=1, run=where), tmp_path)
    assert error.value.exit_code == 3


def test_a_model_of_ones_own_that_hangs_in_process_is_given_up(small, tmp_path):
    started = time.monotonic()
    with pytest.raises(ComponentFailure, match=r"n0.accelerators: gave no answer for 0.5 s \(while answering\)"):
        run(accelerator(small, "Hangs", "inprocess", timeout_s=0.5), tmp_path)
    assert 0.5 < time.monotonic() - started < 20


def test_one_that_says_how_far_it_is_in_process_is_waited_for(small, tmp_path):
    small["workload"]["num_requests"] = 5
    run(accelerator(small, "Slow", "inprocess", timeout_s=2), tmp_path)
    with pytest.raises(ComponentFailure, match="gave no answer for 0.4 s"):
        run(accelerator(small, "SaysTheSame", "inprocess", timeout_s=0.4), tmp_path)


def test_a_component_that_hangs_is_given_up_after_its_time(small, tmp_path):
    started = time.monotonic()
    with pytest.raises(ComponentFailure, match="(?s)gave no answer for 1 s .while doing .*thinking hard"):
        run(accelerator(small, "Hangs", "process", timeout_s=1), tmp_path)
    assert time.monotonic() - started < 15
    assert children() == []


def test_one_that_never_comes_to_be_is_not_started_anew(small, tmp_path):
    started = time.monotonic()
    limits = {"timeout_s": 1, "start_timeout_s": 5, "on_failure": "recover"}
    with pytest.raises(ComponentFailure, match="it never worked .while being configured"):
        run(accelerator(small, "NeverMade", "process", **limits), tmp_path)
    assert time.monotonic() - started < 15 and children() == []


def test_a_slow_component_that_says_so_is_waited_for(small, tmp_path):
    small["workload"]["num_requests"] = 5
    run(accelerator(small, "Slow", "process", timeout_s=2), tmp_path)


@pytest.mark.parametrize(
    ("model", "limit", "seconds"), [("SaysTheSame", "timeout_s", 2), ("NeverDone", "answer_timeout_s", 4)]
)
def test_liveness_is_no_progress_and_progress_has_an_end(small, tmp_path, model, limit, seconds):
    options = {"timeout_s": 2, limit: seconds}
    started = time.monotonic()
    with pytest.raises(ComponentFailure, match=f"gave no answer for {seconds} s"):
        run(accelerator(small, model, "process", **options), tmp_path)
    assert time.monotonic() - started < 20 and children() == []


@pytest.mark.parametrize("model", ["SaysNaN", "SaysAList"])
@pytest.mark.parametrize("where", ["inprocess", "process"])
def test_statistics_that_cannot_be_lose_no_results(small, tmp_path, model, where):
    data = accelerator(small, model, where)
    result = metronome.run(data, out=tmp_path)
    said = result.metrics["metronome"]["components"]["n0.accelerators"]["statistics"]
    assert "relative_error" in said["error"] and result.status == "complete" and len(result.requests) == 40


def frozen(processes):
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize("by_signal", [False, True])
def test_many_that_are_frozen_are_given_up_side_by_side(small, tmp_path, by_signal):
    """Within timeout_s + 1 s, results written and nobody left, and so on Ctrl-C."""
    process = slow_run(small, tmp_path, timeout_s=3, on_failure="fail")
    pids = children(process.pid)
    frozen(pids)
    started = time.monotonic()
    if by_signal:
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    took = time.monotonic() - started
    assert process.returncode == (130 if by_signal else 3), stderr
    assert not [pid for pid in pids if alive(pid)]
    assert (tmp_path / "out/result.json").exists()
    assert took < 9, took  # on an idle machine 1.6 and 4 s; one after another it would be 15 s more


def test_a_component_that_exits_at_once(small, tmp_path):
    with pytest.raises(ComponentFailure, match="(?s)exited with code 2 .while starting.*no licence found"):
        run(accelerator(small, "ExitsAtOnce", "process"), tmp_path)
    assert children() == []


def test_a_component_that_cannot_do_the_plan_is_found_before_time_0(small, tmp_path):
    small["instances"][0]["model"] = "mistralai/Mixtral-8x7B-v0.1"
    for where in ("inprocess", "process"):
        with pytest.raises(MetronomeError, match="moe = 'moe': .* cannot do it: it does attention") as error:
            run(accelerator(small, "NoMoe", where), tmp_path)
        assert error.value.exit_code == 2


def test_a_failed_run_leaves_partial_results_and_exit_code_3(small, tmp_path, cli):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(accelerator(small, "Dies", "process")))
    done = cli("run", path, "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 3
    assert "Traceback" not in done.output
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["metronome"]["status"] == "failed"
    assert "SIGKILL" in result["metronome"]["error"]
    assert result["failed"] > 0
    assert "the end is near" in (tmp_path / "out/logs/n0.accelerators.log").read_text()


def slow_run(small, tmp_path, **options) -> subprocess.Popen:
    """A run in processes that takes long, started as a user would, already under way."""
    small["workload"] |= {"num_requests": 1_000_000}
    small["components"] = {name: {"run": "process", **options} for name in ("n0.accelerators", "n0.dram", "nvlink0")}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(small))
    command = [
        sys.executable,
        "-m",
        "metronome",
        "run",
        str(path),
        "-o",
        str(tmp_path / "out"),
        "--quiet",
        "--record",
    ]
    process = interruptible(command, cwd=ROOT, stderr=subprocess.PIPE)
    wait_until_under_way(tmp_path / "out", process)
    assert len(children(process.pid)) == 3
    return process


def test_ctrl_c_leaves_partial_results_and_no_process(small, tmp_path):
    process = slow_run(small, tmp_path)
    pids = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"interrupted; partial results are in" in stderr and b"Traceback" not in stderr
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["status"] == "interrupted"
    assert not [pid for pid in pids if alive(pid)]


def test_ctrl_c_in_the_middle_of_a_row_leaves_results(small, tmp_path):
    with Simulation(validate(small, "test"), tmp_path) as simulation:
        simulation.run()
        simulation.recorder.logs[0].end_ps.append(10**18)
        simulation.recorder.logs[0].running.append(3)
        write(simulation, tmp_path, 0.0, Ending("interrupted"))
    assert len((tmp_path / "requests.csv").read_text().splitlines()) == 41


def test_sigkill_of_the_orchestrator_leaves_no_process(small, tmp_path):
    process = slow_run(small, tmp_path)
    pids = children(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: not [pid for pid in pids if alive(pid)])


def test_a_frozen_component_and_its_folder_do_not_outlive_a_killed_orchestrator(small, tmp_path):
    """It can end itself no more; the keeper does it."""
    process = slow_run(small, tmp_path)
    pids = children(process.pid)
    folders = list(Path(tempfile.gettempdir()).glob(f"metronome-{process.pid}-*"))
    assert len(folders) == 1
    frozen(pids)
    process.kill()
    process.communicate()
    wait_for(lambda: not [pid for pid in pids if alive(pid)] and not folders[0].exists())


def children(parent: int | None = None) -> list[int]:
    """Live component processes of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                status = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if b"serve-component" in command and int(status[1]) == (parent or os.getpid()) and status[0] != "Z":
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)
