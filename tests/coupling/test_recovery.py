"""A component that dies, hangs or lies is brought back, and the results are those of a run where it did not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import metronome
import pytest
from metronome.hwmodels.interface import Advanced, Completion, Description, Operation, Provenance, TimePolicy
from metronome.orchestrator.coupling.recovery.log import MOST_KEPT, Message, SessionLog
from metronome.orchestrator.errors import ComponentFailure, InputError, RecoveryWarning
from metronome.orchestrator.report.result import Result

from ..chaos.undisturbed import run
from .test_failures import children

DRAM, GPU, NET = "n0.dram", "n0.accelerators", "nvlink0"
DEFAULTS = {DRAM: "bandwidth-latency", GPU: "roofline", NET: "alpha-beta"}


@pytest.fixture
def quiet(small):
    """What an undisturbed run says."""
    return run(small).figures


def disturbed(small, component, chaos, **options):
    model = options.pop("model", f"chaos/{DEFAULTS[component]}")
    own = {"device": "h100-sxm"} if component == GPU else {}
    return {
        **small,
        "components": {component: {"model": model, "run": "process", "timeout_s": 3, "chaos": chaos, **own, **options}},
    }


@pytest.mark.parametrize("kind", ["crash", "hang", "drop", "duplicate", "late", "garbage"])
@pytest.mark.parametrize("component", [DRAM, GPU])
def test_whatever_happens_once_the_results_are_the_same(small, quiet, kind, component):
    found = run(disturbed(small, component, {kind: [30]}))
    assert found.recoveries[component] == 1, found.told
    assert found.figures == quiet
    assert children() == []


def test_lives_that_end_again_and_again(small, quiet):
    found = run(disturbed(small, DRAM, {"crash": [300, 200, 20, 100]}))
    assert found.recoveries == {DRAM: 4, GPU: 0, NET: 0}
    assert found.figures == quiet
    assert [text for text in found.told if "life 4" in text]


@pytest.mark.parametrize("every", [10, 10**9])
def test_one_that_remembers_is_told_its_past_and_may_die_meanwhile(small, monkeypatch, every):
    """By snapshot, or by all its messages; its third death comes while it is told them."""
    monkeypatch.setattr("metronome.orchestrator.coupling.recovery.log.SNAPSHOT_EVERY", every)
    data = disturbed(small, DRAM, {"crash": [300, 350, 5]}, model="chaos/tests.coupling.fakes:Remembers")
    data["components"][DRAM] |= {"bandwidth_gb_s": 100, "latency_ns": 90}
    found = run(data)
    assert found.recoveries[DRAM] == 3
    calm = {**data["components"][DRAM], "chaos": {}, "run": "inprocess"}
    assert found.figures == run({**small, "components": {DRAM: calm}}).figures


def test_one_that_is_frozen_again_while_it_starts_has_a_third_life(small):
    options = {"model": "tests.coupling.fakes:FrozenAsItStarts", "device": "h100-sxm"}
    quiet = run({**small, "components": {GPU: options}}).figures
    limits = {"run": "process", "timeout_s": 3, "start_timeout_s": 8}
    found = run({**small, "components": {GPU: {**options, **limits}}})
    assert found.recoveries[GPU] == 2, found.told
    assert found.figures == quiet
    assert children() == []


def test_answers_that_are_late_are_no_failure(small, quiet):
    found = run(disturbed(small, GPU, {"delay": [3, 1], "delay_s": 0.3, "start_s": 0.2}))
    assert found.figures == quiet and not found.told


def test_all_killed_at_once(small, quiet):
    small["components"] = {name: {"run": "process"} for name in DEFAULTS}
    small["workload"]["num_requests"] = 300
    alone = run({**small, "components": {}}).figures

    class Killer:
        events = 0

        def event(self, event):
            self.events += 1
            for pid in children() if self.events == 500 else ():
                os.kill(pid, signal.SIGKILL)

    found = run(small, instruments=[Killer()])
    assert found.figures == alone and sum(found.recoveries.values()) >= 1


def test_a_recovery_is_told_and_counted(small, tmp_path):
    with pytest.warns(UserWarning, match=r"n0.dram: was killed by SIGKILL; it is started anew \(life 2\)"):
        result = metronome.run(disturbed(small, DRAM, {"crash": [30]}), out=tmp_path)
    assert result.metrics["metronome"]["components"][DRAM]["recoveries"] == 1
    assert result.status == "complete"


def test_on_failure_fail(small):
    with pytest.raises(ComponentFailure, match="n0.dram: was killed by SIGKILL"):
        metronome.run(disturbed(small, DRAM, {"crash": [30]}, on_failure="fail"))
    assert children() == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("RaisesBeyond", "ZeroDivisionError.*started anew, it does the same again"),
        ("RunsBackBeyond", "before its start 5; .*started anew, it does the same again"),
        ("Repeats", "not asked again; .*started anew, it does the same again"),
        ("RepeatsLater", "which it was not asked; .*started anew, it does the same again"),
        ("DiesBeyond", "SIGKILL; it was started anew 3 times, and failed each time"),
        ("Fickle", "it cannot be brought back: its model is not deterministic"),
        ("Changeable", "cannot be brought back: started anew, it describes itself otherwise"),
        ("OfTwoMinds", "cannot be brought back: started anew, it answers what it was asked before"),
        ("ForgetsItsState", "is in another state after its snapshot was restored"),
    ],
)
def test_what_cannot_be_brought_back_says_so(small, monkeypatch, model, message):
    monkeypatch.setattr("metronome.orchestrator.coupling.recovery.log.SNAPSHOT_EVERY", 10)
    component = DRAM if model in ("OfTwoMinds", "ForgetsItsState", "RepeatsLater") else GPU
    own = {"device": "h100-sxm"} if component == GPU else {"bandwidth_gb_s": 100, "latency_ns": 90}
    options = {"model": f"tests.coupling.fakes:{model}", "run": "process", "timeout_s": 5, **own}
    started = time.monotonic()
    with pytest.raises(ComponentFailure, match=f"(?s){message}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        metronome.run({**small, "components": {component: options}})
    assert time.monotonic() - started < 60 and children() == []


def test_a_served_address_that_comes_back(small, quiet, tmp_path):
    """Whoever has started it starts it anew, at the same address; a hung session there is left to itself."""
    tmp_path.chmod(0o700)
    address = f"unix:{tmp_path}/dram.sock"
    command = [sys.executable, "-m", "metronome", "serve-component", "chaos/bandwidth-latency", "--listen", address]

    def serve(life):
        return subprocess.Popen(command, env={**os.environ, "METRONOME_LIFE": str(life)}, stdout=subprocess.DEVNULL)

    ended = threading.Event()
    servers = [serve(0)]

    def supervise():
        while not ended.is_set():
            if servers[-1].poll() is not None:
                servers.append(serve(len(servers)))
            time.sleep(0.05)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        options = {"run": "address", "address": {"target": address}, "timeout_s": 2, "chaos": {"crash": [30, 40]}}
        found = run({**small, "components": {DRAM: options}})
    finally:
        ended.set()
        supervisor.join()
        for server in servers:
            server.kill()
            server.wait()
    assert found.figures == quiet and found.recoveries[DRAM] == 2


def test_an_address_that_does_not_come_back_is_waited_for_once(small, tmp_path):
    tmp_path.chmod(0o700)
    address = f"unix:{tmp_path}/dram.sock"
    command = [sys.executable, "-m", "metronome", "serve-component", "chaos/bandwidth-latency", "--listen", address]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    options = {"run": "address", "address": {"target": address}, "start_timeout_s": 10, "chaos": {"crash": [30]}}
    try:
        with pytest.raises(ComponentFailure, match="never became healthy within 10 s.*it does not start any more"):
            metronome.run({**small, "components": {DRAM: options}})
    finally:
        server.kill()
        server.wait()


def test_another_model_answers_on_and_the_result_is_marked(small, tmp_path, cli):
    options = {"bandwidth_gb_s": 100, "latency_ns": 90, "on_failure": {"fallback": "bandwidth-latency"}}
    data = disturbed(small, DRAM, {}, model="tests.coupling.fakes:BreaksPromise", **options)
    del data["components"][DRAM]["chaos"]
    with pytest.warns(UserWarning, match="bandwidth-latency answers in its place from here: the result is marked"):
        result = metronome.run(data, out=tmp_path, record=True)
    said = result.metrics["metronome"]["components"][DRAM]
    assert said["fallback"]["model"] == "bandwidth-latency" and "promised to act" in said["fallback"]["why"]
    assert result["completed"] == 40
    again = cli("replay", tmp_path, "-o", tmp_path / "again", "--quiet")
    assert again.exit_code == 0, again.output
    replayed = Result.read(tmp_path / "again")
    assert replayed.metrics["metronome"]["components"][DRAM]["fallback"] == said["fallback"]
    assert replayed.requests.rows == result.requests.rows
    journal = tmp_path / "recording" / "journal"
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size - 1)
    refused = cli("run", "--resume", tmp_path, "--quiet")
    assert refused.exit_code == 2 and "another model has answered in the place of n0.dram" in refused.output


def test_an_accelerators_place_is_taken_too(small):
    options = {"device": "h100-sxm", "run": "process", "on_failure": {"fallback": "roofline"}}
    small["components"] = {GPU: {"model": "tests.coupling.fakes:RaisesBeyond", **options}}
    with pytest.warns(UserWarning, match="roofline answers in its place"):
        result = metronome.run(small)
    plain = metronome.run({**small, "components": {}})
    assert result.requests.rows == plain.requests.rows  # the fake is a roofline that fails
    assert result.metrics["metronome"]["components"][GPU]["fallback"]["model"] == "roofline"


@pytest.mark.parametrize(
    ("component", "options", "message"),
    [
        (
            DRAM,
            {"run": "process", "on_failure": {"fallback": "roofline"}},
            "models a piece of accelerator, not of memory",
        ),
        (DRAM, {"run": "process", "on_failure": {"fallback": "nothing"}}, "on_failure.fallback = 'nothing'"),
        (DRAM, {"on_failure": "fail"}, "on_failure is for components outside this process"),
        (DRAM, {"run": "process", "on_failure": "retry"}, "on_failure"),
        (NET, {"model": "fabric", "run": "process", "on_failure": {"fallback": "alpha-beta"}}, "it cannot answer"),
        (DRAM, {"model": "chaos/bandwidth-latency", "chaos": {"crash": 0.1}}, "needs a process of its own"),
        (DRAM, {"model": "chaos/bandwidth-latency", "chaos": {"crush": 0.1}}, "did you mean 'crash'"),
        (DRAM, {"model": "chaos/bandwidth-latency", "chaos": {"drop": 2}}, "chaos.drop"),
        (DRAM, {"model": "chaos/bandwidth-latency", "chaos": "much"}, "a mapping of what goes wrong"),
        (DRAM, {"model": "chaos/bandwidth"}, "one of"),
    ],
)
def test_bad_input(small, component, options, message):
    with pytest.raises(InputError, match=message):
        metronome.run({**small, "components": {component: options}})


# What is kept of a session -----------------------------------------------------------------------------


def described(**what):
    given = {"time_policy": TimePolicy.CONSERVATIVE, "memoryless": False, **what}
    return Description("x", "memory", "1", op_kinds=frozenset({"read"}), **given)


def message(number):
    return Message(number, [Operation(0, (1,), number)], True, 0)


def test_nothing_is_kept_of_a_component_without_a_clock():
    log = SessionLog(described(time_policy=TimePolicy.ORACLE))
    log.add(message(1), idle=False)
    assert log.messages == [] and not log.why_not


def test_a_memoryless_component_that_is_idle_is_as_new():
    log = SessionLog(described(memoryless=True))
    log.add(message(1), idle=False)
    assert len(log.messages) == 1
    log.add(message(2), idle=True)
    assert log.messages == []


def test_what_remembers_is_kept_until_it_is_too_much():
    log = SessionLog(described())
    for number in range(MOST_KEPT // 2):
        log.add(message(number), idle=True)
    assert len(log.messages) == MOST_KEPT // 2 and not log.why_not
    log.add(message(0), idle=True)
    assert log.messages == [] and "takes no snapshots" in log.why_not


def test_what_a_digest_tells_apart():
    from metronome.orchestrator.coupling.recovery.log import digest

    done = Completion(1, 2, 3, Provenance.MODELLED, 4)
    same = Advanced(3, (done,), None)
    assert digest(same) == digest(Advanced(3, (Completion(*done),), None))
    for other in (
        Advanced(4, (done,)),
        Advanced(3, (done,), 9),
        Advanced(3, (done._replace(energy_pj=5),)),
        Advanced(3, ()),
    ):
        assert digest(other) != digest(same)
