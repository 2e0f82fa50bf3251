"""What passes at the ports of an island, in the debugger: stops, causes, and how long an accelerator was stalled there."""

from __future__ import annotations

import io
import json
import re
from itertools import pairwise

import pytest
import yaml
from metronome.hwmodels.accelerator.systolic import Systolic
from metronome.hwmodels.interface import MAX_PS, Operation
from metronome.orchestrator.cli.debug import open_session
from metronome.orchestrator.coupling.wired.inside import Passed
from metronome.orchestrator.debug.console import Console
from metronome.orchestrator.debug.ported import Ported, causes
from metronome.orchestrator.debug.why import why, why_all

from ..wiring.test_islands import ARRAY, DRAM, FAST, TINY, WIRES
from .test_dap import client  # noqa: F401

WAITS = "memory", "n0.accelerators waits at mem for n0.hbm"
COMPUTES = "compute", "n0.accelerators"
ALL_TILES = {"model": "systolic-mem"}


@pytest.fixture
def wired(small, tmp_path):
    """The path of a scenario of two requests to a small model, whose accelerators ask that memory."""
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    small["instances"] = [{**small["instances"][0], "model": str(tmp_path / "config.json")}]
    small["workload"] |= {"num_requests": 2, "input_tokens": {"mean": 40, "max": 90}, "output_tokens": {"mean": 4}}

    def path(hbm=FAST, array=ARRAY, **more):
        parts = {"wires": WIRES, "components": {"n0.accelerators": array, "n0.hbm": hbm}, **more}
        found = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        found.write_text(yaml.safe_dump(small | parts))
        return str(found)

    return path


def said(session, *lines):
    out = io.StringIO()
    Console(session, stdin=io.StringIO(), stdout=out).script(lines)
    return out.getvalue()


def ended(path):
    session = open_session(path, (), None, None)
    session.run()
    return session


def test_a_memory_that_only_another_asks_is_not_set(wired):
    """Its asker goes on with the one it has."""
    with open_session(wired(DRAM), (), None, None) as session:
        text = said(session, "seek 1", "set components.n0.hbm.count 2")
    assert "is asked by n0.accelerators alone" in text and not session.edits


@pytest.mark.parametrize("tokens", [0, 3_000_000])
def test_an_operation_that_no_step_has_is_refused(wired, tokens):
    with open_session(wired(), (), None, None) as session:
        text = said(session, "seek 1", f"inside qkv_proj {tokens}")
    assert "error: " in text and "m from 1 to 4096" in text


# Stops ------------------------------------------------------------------------------------------------


def test_a_stop_at_a_port_says_which_operations_ask_there_and_how_often(wired):
    with open_session(wired(), (), None, None) as session:
        text = said(session, "break n0.hbm:load", "continue", "inside qkv_proj 11", "inside gate_up_proj 11")
        event, first = re.search(r"breakpoint 1: event (\d+) asked for (.*)", text).groups()
        assert session.position == int(event) + 1
        found = dict(re.findall(r"'(\w+)' \[11\] on n0.accelerators \((\d+) load at n0.accelerators.mem\)", first))
        told = r"gemm '(\w+)' \[11\] on n0.accelerators: .*\n  n0.accelerators: .*\n.*-> n0.hbm: (\d+) load,"
        inside = dict(re.findall(told, text))
        assert list(found) == ["embedding", "layernorm", "qkv_proj"] and " and 9 more" in first
        assert inside["qkv_proj"] == found["qkv_proj"] and inside["gate_up_proj"] != "0"
        assert "store" not in first


def test_it_stops_where_something_is_asked_and_nowhere_else_both_ways(wired):
    """The same moments forwards and backwards: those after which there are operations on the tape of the island."""
    with open_session(wired(), (), None, None) as session:
        said(session, "break n0.hbm:store")
        forwards = []
        while not session.ended:
            session.run()
            forwards.append(session.position)
        events = [
            message.event
            for message in session.tape.log
            if message.session.startswith("n0.accelerators#") and message.verb == "advance"
        ]
        assert forwards[:-1] == sorted({event + 1 for event in events}) and len(forwards) > 3
        backwards = []
        while session.position > 1:
            session.back_to()
            backwards.append(session.position)
        assert backwards[-1] == 1 and backwards[-2::-1] == forwards[:-1]


@pytest.mark.parametrize(
    ("name", "why_not"),
    [
        ("n0.hbm:gemm", "n0.hbm is asked at ports for load, store"),
        ("n0.hbm:loud", "kind = 'loud': one of"),
        ("n0.hbn:load", "component = 'n0.hbn': one of"),
    ],
)
def test_what_would_never_stop_is_refused(wired, name, why_not):
    with open_session(wired(), (), None, None) as session:
        assert why_not in said(session, f"break {name}")
        assert not session.stops.all


@pytest.mark.parametrize("name", ["n0.hbm", "n0.hbm:read"])
def test_a_memory_that_is_asked_for_traffic_has_no_events_to_stop_at(wired, name):
    with open_session(wired(array={"device": "h100-sxm"}, wires=[]), (), None, None) as session:
        text = said(session, f"break {name}")
        assert "has no events: n0.accelerators asks it within its own operations; stop at n0.accelerators" in text
        assert not session.stops.all


@pytest.mark.parametrize("hosted", [True, False])
def test_where_nothing_can_be_played_it_is_said_and_nothing_told_apart(wired, cli, tmp_path, hosted):
    if hosted:
        path = wired(FAST | {"run": "island"})
    else:
        assert cli("run", wired(), "-o", tmp_path / "out", "--record", "--quiet").exit_code == 0
        path = str(tmp_path / "out")
    with ended(path) as session:
        assert "not played here (a recording, or hosted as a whole)" in said(session, "break n0.hbm:load")
        answer = why(session, 1)
        assert WAITS not in answer.before and answer.before[COMPUTES] > 0


def test_an_editor_stops_there_too(client, wired):  # noqa: F811
    client.request("initialize", adapterID="metronome", linesStartAt1=True)
    client.request("launch", program=wired(), stopOnEntry=False)
    client.event("initialized")
    names = ("n0.hbm:load", "n0.hbm:gemm")
    set_ = client.request("setFunctionBreakpoints", breakpoints=[{"name": name} for name in names])["breakpoints"]
    assert [one["verified"] for one in set_] == [True, False] and "load, store" in set_[1]["message"]
    client.request("configurationDone")
    stopped = client.event("stopped")
    assert stopped["reason"] == "breakpoint" and stopped["hitBreakpointIds"] == [set_[0]["id"]]
    assert "load at n0.accelerators.mem" in stopped["description"]
    client.request("disconnect")


# Causes -----------------------------------------------------------------------------------------------


def test_bt_of_a_step_names_what_an_island_did_in_it(wired):
    with open_session(wired(), (), None, None) as session:
        text = said(session, "continue", "seek 4", "bt")
        assert re.search(
            r"#0   4 .* compute 1\n     n0.accelerators, wired to its memory, did gemm 'gate_up_proj' \[11\] [\d.]+ ms, "
            r".* and 9 more; `inside gate_up_proj 11` looks into the first\n#1   3 ",
            text,
        )
        assert "wired to its memory" not in said(session, "seek 3", "bt")


def test_bt_of_a_request_goes_back_to_the_operation(wired):
    with open_session(wired(array=ALL_TILES), (), None, None) as session:
        assert "play an operation first" in said(session, "bt 1")
        text = said(session, "inside down_proj 3", "bt 1")
        assert text.endswith(
            "     asked for at 0.000 ns, as its operation began\n"
            "#1   gemm 'down_proj' [3] on n0.accelerators, from 0.000 ns\n"
        )
        ported = Ported(session)
        console = Console(session, stdin=io.StringIO(), stdout=io.StringIO())
        console.do_inside("down_proj 3")
        passed = ported.play(console.inside).passed
        for number in range(len(passed)):
            chain = causes(passed, number, "n0.accelerators")
            times = [passed[at].asked_ps for at, _ in chain]
            assert times == sorted(times, reverse=True)
            for (at, why_), (back, _) in pairwise(chain):
                assert (
                    passed[back].finish_ps == passed[at].asked_ps
                    and why_ == f"as the answer to request {back + 1} came"
                )
        assert f"requests 1 to {len(passed)}" in said_by(console, f"bt {len(passed) + 1}")


def said_by(console, *lines):
    console.stdout = io.StringIO()
    console.script(lines)
    return console.stdout.getvalue()


def request(asker, target, asked, at, finish):
    return Passed(asker, "port", target, "load", 0, (64, 0), asked, at, at, finish)


def test_causes_go_through_those_who_ask_on_behalf_of_others():
    """A asks B, which asks C: for C's requests the cause is what came back to B, or what A asked of B."""
    passed = [
        request("a", "b", 0, 10, 100),  # as the operation began
        request("b", "c", 10, 15, 40),  # as that came
        request("b", "c", 40, 45, 70),  # as the one before was back
        request("b", "c", 60, 65, 90),  # by itself
    ]
    assert causes(passed, 2, "a") == [
        (2, "as the answer to request 2 came"),
        (1, "as its operation began"),
        (0, "as its operation began"),
    ]
    assert causes(passed, 3, "a") == [(3, "by its own clock: no answer came then"), (0, "as its operation began")]


# Stalls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hbm", [FAST, DRAM, {**FAST, "bandwidth_gb_s": 3}])
def test_what_it_waited_and_what_it_did_add_up(wired, hbm):
    """What the array does itself does not depend on its memory; all together is the latency, to the picosecond."""
    with ended(wired(hbm)) as session, ended(wired({**FAST, "bandwidth_gb_s": 50})) as other:
        for answer, beside in zip(why_all(session), why_all(other), strict=True):
            assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps
            own, waited = (answer.before[key] + answer.after[key] for key in (COMPUTES, WAITS))
            told = sum(part.took_ps for step in answer.steps for part in step.path() if part.component == COMPUTES[1])
            assert own + waited == told and waited > 0
            assert [step.requests for step in answer.steps] == [step.requests for step in beside.steps]
            assert own == beside.before[COMPUTES] + beside.after[COMPUTES]


def test_its_own_work_is_that_of_the_array_alone(wired):
    """By `systolic`, which has no memory: and what the ports take there and back, which no memory can spare it."""
    array = {"clock_mhz": 1000}
    with ended(wired({**FAST, "bandwidth_gb_s": 3}, ALL_TILES | array)) as session:
        alone = Systolic(array)
        units = [work for unit in session.simulation.units for work in unit.plan.works]
        alone.declare([work.template for work in units if work.component == COMPUTES[1]])
        there = 20_000 + 1  # a port's least latency, and an answer at once
        answer = why(session, 1)
        expected = 0
        for step in answer.steps:
            for part in step.path():
                if part.component == COMPUTES[1]:
                    work, values, times = part.asked
                    (done,) = alone.advance(MAX_PS, [Operation(work.template.id, tuple(values))], True).completions
                    expected += round((done.finish_ps + 2 * there + 1) * times)
        assert answer.before[COMPUTES] + answer.after[COMPUTES] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("how", ["slower", "surrogate"])
def test_it_adds_up_whoever_has_changed_the_answers(wired, how, monkeypatch, tmp_path):
    monkeypatch.setenv("METRONOME_CACHE", str(tmp_path / "cache"))
    factors = {"gemm": 2.0, "other_kernels": 2.0, "prompt_attention": 2.0, "decode_attention": 2.0}
    array, more = (
        (ARRAY, {"calibration": {"factors": factors}})
        if how == "slower"
        else (
            {**ARRAY, "surrogate": {"tolerance": 0.05}},
            {},
        )
    )
    with ended(wired(FAST, array, **more)) as session, ended(wired(FAST)) as plain:
        found, as_it_was = why(session, 0), why(plain, 0)
        assert sum(found.before.values()) + sum(found.after.values()) == found.total_ps
        times = 2 if how == "slower" else 1
        for key in (COMPUTES, WAITS):
            assert found.before[key] == pytest.approx(times * as_it_was.before[key], rel=1e-3 if times == 2 else 0.1)
