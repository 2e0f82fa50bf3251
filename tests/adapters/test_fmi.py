"""Co-simulation units: times by their bandwidth, their steps, their state, and what becomes of one that fails."""

from __future__ import annotations

import math
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.adapters.fmi import FmiMemory, FmiNetwork
from metronome.adapters.tools import environment
from metronome.adapters.tools.failure import ToolFailure
from metronome.hwmodels.interface import BadOperation, ConfigError, Feature, Operation, Template

from ..conftest import ROOT, missing, need_tool
from .contract import keeps_the_contract

KINDS = ("read", "write", "copy", "move", "load", "store")
TEMPLATES = [Template(number, kind, kind, {"pattern": "stream"}) for number, kind in enumerate(KINDS)]
READ, WRITE, COPY, MOVE, LOAD, STORE = range(len(KINDS))
US = 10**6
STATE = ("--handle-state", "--serialize-state")
FAR = 10**15


def build(source, folder, *options):
    """The unit of a source, made by PythonFMU."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [environment.folder() / "fmi/bin/pythonfmu", "build", "-f", source, "-d", folder, *options]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.fmu"))


@pytest.fixture(scope="session")
def units(tmp_path_factory):
    """Each by name: with a state that can be saved, and steps that vary, or without."""
    need_tool("fmi")
    folder = tmp_path_factory.mktemp("units")
    steady, hot = ROOT / "tests/adapters/units/steady.py", ROOT / "adapters/examples/fmi/hot_memory.py"
    return {
        "steady": build(steady, folder / "a", *STATE),
        "fixed": build(steady, folder / "b", *STATE, "--no-variable-step"),
        "forgetful": build(steady, folder / "c"),
        "hot": build(hot, folder / "d", *STATE),
    }


def made(fmu, step_ns=1000, model=FmiMemory, **config):
    memory = model({"fmu": str(fmu), "step_ns": step_ns, **config})
    memory.declare(TEMPLATES)
    return memory


def asking(*asked):
    return [Operation(template, tuple(values), number, at) for number, (at, template, *values) in enumerate(asked)]


def ends(memory, *asked, grant=FAR):
    done = memory.advance(grant, asking(*asked)).completions
    return [(one.start_ps, one.finish_ps) for one in sorted(done, key=lambda one: one.op_id)]


@pytest.mark.parametrize("unit", ["steady", "fixed"])
@pytest.mark.parametrize("step_ns", [100, 1000, 12345.678])
def test_bytes_over_bandwidth(units, unit, step_ns):
    """Exact from where the unit begins: at once if its steps vary, else at the next of its steps."""
    memory = made(units[unit], step_ns, parameters={"gb_s": 100.0})
    step = round(step_ns * 1000)
    for at, size in ((0, 10**6), (6_654_321_000, 1), (7_700_000_001, 123_457), (9 * 10**9, 40 * step // 10)):
        ((start, finish),) = ends(memory, (at, READ, size), grant=at + 10**9)
        begins = at if unit == "steady" else -(-at // step) * step
        assert start == begins and (finish - begins) % step == 0
        assert 0 <= finish - begins - size * 10 < step  # the last step is shared out among what is wanted in it


@given(
    st.lists(
        st.tuples(st.integers(0, 5 * US), st.sampled_from(range(6)), st.integers(1, 10**5)), min_size=1, max_size=9
    )
)
@settings(max_examples=25, deadline=None)
def test_first_come_first_served_within_a_step(units, asked):
    """Against the same queue at a constant rate: no operation is earlier, none later by more than two steps."""
    memory = SHARED.setdefault("steady", made(units["steady"], parameters={"gb_s": 10.0}))
    base = memory.inspect()["now_ps"] + 10 * US
    asked = sorted((at + base, kind, *([size, 64] if kind >= MOVE else [size])) for at, kind, size in asked)
    found = ends(memory, *asked, grant=base + 10**9)
    assert len(found) == len(asked)
    free = 0
    for (at, kind, size, *_), (start, finish) in zip(asked, found, strict=True):
        moves = {COPY: 2 * size, MOVE: size + 64}.get(kind, size)
        free = max(free, at) + moves * 100
        assert at <= start < finish and free <= finish <= free + 2 * US + len(asked)
    assert found == sorted(found, key=lambda one: one[1])


SHARED = {}


def test_steps_follow_one_another_and_are_computed_from_the_whole(units):
    """0.1 us is no binary fraction: added up 20,000 times it would be off by more than a rounding of the time."""
    memory = made(units["fixed"], 100, outputs=["latest_s", "worst_s", "steps"])
    ends(memory, (0, READ, 10), (2_000_000_000, READ, 10))
    seen = memory.statistics()["outputs"]
    assert seen["steps"]["last"] == 20_001 == memory.statistics()["steps"]
    assert seen["latest_s"]["last"] == 0.002 + 1e-7 and seen["worst_s"]["last"] < 1e-18


def test_a_rest_is_one_step_or_several_or_each(units):
    for unit, options, steps in (
        ("steady", {}, 3),
        ("steady", {"rest_ns": 10_000}, 2 + 100),
        ("fixed", {}, 1001),
        ("fixed", {"rest_ns": 10_000}, 1001),
    ):
        memory = made(units[unit], **options)
        ends(memory, (0, READ, 10), (1000 * US, READ, 10))
        assert memory.statistics()["steps"] == steps, (unit, options)


def test_one_that_comes_in_the_middle_of_a_step_waits_for_the_next(units):
    memory = made(units["steady"])
    found = ends(memory, (0, READ, 10**5 + 10), (US // 2, WRITE, 100))
    assert found == [(0, US + 90_910), (US + 90_910, 2 * US)]  # ten bytes of 110, and the rest
    memory = made(units["steady"])
    assert ends(memory, (10 * US, READ, 100), (10 * US + 3000, READ, 100)) == [(10 * US, 11 * US), (11 * US, 12 * US)]


@pytest.mark.parametrize("unit", ["steady", "fixed"])
def test_what_comes_as_a_step_begins_is_in_it_though_it_is_told_later(units, unit):
    """A grant promises nothing of its own instant."""
    memory = made(units[unit])
    first, second = asking((10 * US, READ, 10_000), (10 * US, READ, 10_000))
    assert memory.advance(10 * US, [first]).next_event_ps == 10 * US + 1
    memory.advance(10 * US, [second])
    done = memory.advance(FAR, ()).completions
    assert [one.finish_ps - 10 * US for one in done] == [US // 2, US]


@pytest.mark.parametrize("unit", ["steady", "fixed", "hot"])
def test_how_time_is_cut_changes_nothing(units, unit):
    asked = [(i * 700_001, i % 3, 30_000 + 7 * i) for i in range(40)]
    expected = ends(made(units[unit]), *asked)
    memory, left, found, now = made(units[unit]), asking(*asked), {}, 0
    while left or len(found) < len(asked):
        now += 333_333
        due = [one for one in left if one.at_ps <= now]
        left = left[len(due) :]
        answer = memory.advance(now, due)
        for one in answer.completions:
            found[one.op_id] = one.start_ps, one.finish_ps
        assert all(one.finish_ps > now - 333_333 for one in answer.completions)
        if answer.next_event_ps is not None:
            assert answer.next_event_ps > now
    assert [found[number] for number in range(len(asked))] == expected


def test_nothing_ends_before_it_was_promised(units):
    memory, promised = made(units["hot"]), 1
    left = asking(*((i * 200_000, READ, 20_000) for i in range(30)))
    done, now = 0, 0
    while done < 30:
        coming = left[0].at_ps if left else FAR
        now = max(now, min(promised, coming))
        due = [one for one in left if one.at_ps <= now]
        left = left[len(due) :]
        answer = memory.advance(now, due)
        assert all(promised <= one.finish_ps <= now for one in answer.completions)
        done += len(answer.completions)
        promised = answer.next_event_ps or FAR


def temperature(start, goal, seconds, tau):
    return goal + (start - goal) * math.exp(-seconds / tau)


HOT = {"gb_s": 50.0, "throttled_gb_s": 20.0, "tau_s": 0.01, "k_per_w": 5.0, "pj_per_byte": 200.0}


def test_it_heats_by_the_exponential_gets_slower_at_its_limit_and_cools(units):
    """2 W and 10 W of traffic: from 55 to 105 degrees. 85 is reached after tau x ln(50 / 20)."""
    memory = made(units["hot"], 10_000, parameters=HOT, outputs=["temperature_c", "throttled"])
    gigabyte = 10**9
    operations = [Operation(READ, (10**6,), i, 0) for i in range(1000)]
    done = [one.finish_ps for one in memory.advance(5 * 10**9, operations).completions]
    seen = memory.inspect()["outputs"]["temperature_c"]["last"]
    assert seen == pytest.approx(temperature(55, 105, 0.005, 0.01), abs=1e-9)
    assert len(done) == 250
    done += [one.finish_ps for one in memory.advance(10**12, ()).completions]
    took = [b - a for a, b in pairwise(done)]
    limit = 0.01 * math.log(50 / 20)
    slower = next(i for i, one in enumerate(took) if one > 2.4 * 20 * US)
    assert done[slower] / 1e12 == pytest.approx(limit, abs=5e-5)
    assert took[slower + 2] == pytest.approx(50 * US, abs=1)
    # at 20 GB/s it goes to 45 + 5 x (2 + 4) = 75, which it nears and does not reach: it stays slow
    assert took[-2] == pytest.approx(50 * US, abs=1)
    assert memory.inspect()["outputs"]["throttled"] == {"last": True, "lowest": False, "highest": True}
    left = memory.inspect()["outputs"]["temperature_c"]["last"]
    assert 75 < left < 85 and memory.inspect()["outputs"]["temperature_c"]["highest"] == pytest.approx(85, abs=0.06)
    # after a rest it is cool, and as quick as at first
    at = 2 * 10**12
    (one,) = memory.advance(at + 10**10, [Operation(READ, (10**6,), 2000, at)]).completions
    assert one.finish_ps - one.start_ps == pytest.approx(20 * US, abs=1)
    assert gigabyte == memory.statistics()["read_bytes"] - 10**6


def test_two_users_share_it(units):
    """Bytes of both pass one after another; together they heat it as one with as many bytes."""
    pieces = [10**6] * 100
    alone = made(units["hot"], 10_000, parameters=HOT)
    one = ends(alone, *((0, READ, size) for size in pieces))
    both = made(units["hot"], 10_000, parameters=HOT)
    two = ends(both, *((0, (READ, WRITE)[i % 2], size) for i, size in enumerate(pieces)))
    assert [end for _, end in one] == [end for _, end in two]
    assert two[-1][1] == 100 * 20 * US  # twice what fifty take alone
    assert both.statistics()["read_bytes"] == both.statistics()["written_bytes"] == 50 * 10**6


def test_it_keeps_the_contract(units, tmp_path):
    keeps_the_contract(FmiMemory, {"fmu": str(units["hot"]), "step_ns": 1000}, tmp_path)


def test_the_network_keeps_the_contract(units, tmp_path):
    """By a unit whose steps do not vary."""
    groups = [{"name": "n0", "count": 4}]
    keeps_the_contract(FmiNetwork, {"fmu": str(units["fixed"]), "step_ns": 1000, "groups": groups}, tmp_path)


def test_one_without_a_state_to_save_says_so_and_keeps_the_contract(units, tmp_path):
    memory = made(units["forgetful"])
    assert Feature.SNAPSHOT not in memory.description.features
    assert Feature.SNAPSHOT in made(units["steady"]).description.features
    with pytest.raises(ToolFailure, match="cannot save its state"):
        memory.snapshot()
    keeps_the_contract(FmiMemory, {"fmu": str(units["forgetful"]), "step_ns": 1000}, tmp_path)


def test_a_state_is_saved_and_gone_back_to(units):
    """In the middle of a step, with operations before, in and after it; also in another session."""
    config = {"parameters": HOT, "outputs": ["temperature_c"]}
    memory = made(units["hot"], 10_000, **config)
    memory.advance(10**9 + 12_345, asking(*((0, READ, 10**6) for _ in range(60)), (2 * 10**9, COPY, 10**5)))
    kept = memory.snapshot()
    expected = memory.advance(FAR, ()), memory.statistics()
    for other in (memory, made(units["hot"], 10_000, **config)):
        other.restore(kept)
        assert other.snapshot() == kept
        assert (other.advance(FAR, ()), other.statistics()) == expected


def test_sends_pass_by_pair(units):
    network = FmiNetwork(
        {
            "fmu": str(units["steady"]),
            "step_ns": 1000,
            "groups": [{"name": "n0", "count": 2}],
            "memories": [{"name": "pool"}],
        }
    )
    sends = {"out": "pool,n0.0,pool,n0.1", "back": "n0.1,pool"}
    network.declare(
        [
            Template(i, "send", name, {"participants": 2, "ranks": ranks})
            for i, (name, ranks) in enumerate(sends.items())
        ]
    )
    assert ends(network, (0, 0, 1000), (0, 1, 1000)) == [(0, 666_667), (666_667, US)]
    assert (network.statistics()["read_bytes"], network.statistics()["written_bytes"]) == (2000, 1000)
    with pytest.raises(Exception, match="pol is not among the devices of n0, pool"):
        network.declare([Template(7, "send", "x", {"participants": 2, "ranks": "pol,n0.0"})])


@pytest.fixture(scope="session")
def third(units, tmp_path_factory):
    """A unit of FMI 3.0, of C."""
    if not shutil.which("cc"):
        missing("a C compiler")
    source, out = ROOT / "tests/adapters/units/third.c", tmp_path_factory.mktemp("third")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", out / "Third.so", source], check=True)
    with zipfile.ZipFile(out / "Third.fmu", "w") as unit:
        unit.write(source.with_suffix(".xml"), "modelDescription.xml")
        unit.write(out / "Third.so", f"binaries/{platform.machine()}-linux/Third.so")
    return out / "Third.fmu"


def test_one_of_fmi_3_is_as_one_of_fmi_2(units, third):
    asked = [(i * 700_001, i % 3, 30_000 + 7 * i) for i in range(40)]
    found = made(third, parameters={"gb_s": 100.0})
    assert ends(found, *asked) == ends(made(units["steady"]), *asked)
    assert found.statistics()["unit"]["fmi"] == "3.0" and Feature.SNAPSHOT not in found.description.features


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (1, "it returns early, at 5e-07 s, from a step of 1e-06 s at 0 s"),
        (2, "it asks to end the simulation in a step of 1e-06 s at 0 s"),
        (3, "it says error at a step of 1e-06 s at 0 s; the third unit is out of order"),
    ],
)
def test_one_of_fmi_3_that_does_not_take_its_step_is_said(third, ending, why):
    memory = made(third, parameters={"ending": ending})
    with pytest.raises(ToolFailure, match=why):
        memory.advance(FAR, [Operation(READ, (100,))])


def test_an_array_is_no_figure(third):
    for config in ({"parameters": {"caps": 3.0}}, {"outputs": ["caps"]}):
        with pytest.raises(ConfigError, match="of type Float64, an array"):
            made(third, **config)


# What goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("discards", "it discards a step of 1e-06 s at 0 s"),
        ("raises", "it says (error|fatal) at a step of 1e-06 s at 0 s.*out of sand"),
        ("crashes", "killed by SIGABRT"),
        ("hangs", "did not answer within 2 s"),
        ("too much", "says 200 bytes are done, of 100"),
        ("negative", "says -1 bytes are done, of 100"),
        ("nan", "its done_bytes is nan"),
    ],
)
def test_a_unit_that_fails_is_named_with_what_it_was_asked(units, fault, why):
    memory = made(units["steady"], parameters={"fault": fault}, timeout_s=2)
    with pytest.raises(ToolFailure, match=rf"(?s)^fmi, Steady.fmu, the step from 0 ps.*{why}"):
        memory.advance(FAR, [Operation(READ, (100,))])


def test_one_that_never_gets_on_is_said(units, monkeypatch):
    monkeypatch.setattr("metronome.adapters.fmi.stepping.MOST_STALLED", 50)
    memory = made(units["steady"], parameters={"fault": "stalls"})
    with pytest.raises(ToolFailure, match=r"Steady.fmu: has done none of 100 bytes in 50 steps"):
        memory.advance(FAR, [Operation(READ, (100,))])


@pytest.mark.parametrize(
    ("config", "field", "why"),
    [
        ({"wanted_bytes": "wanted_byte"}, "wanted_bytes", "no such variable; did you mean 'wanted_bytes'"),
        ({"wanted_bytes": "done_bytes"}, "wanted_bytes", "is output of type Real, not input"),
        ({"done_bytes": "gb_s"}, "done_bytes", "is parameter of type Real, not output.*it has done_bytes"),
        ({"done_bytes": "steps"}, "done_bytes", "is output of type Integer, not output of type Real"),
        ({"outputs": ["temperature_c"]}, "outputs", "no such variable"),
        ({"parameters": {"gbs": 3}}, "parameters.gbs", "no such variable; did you mean 'gb_s'"),
        ({"parameters": {"latest_s": 3}}, "parameters.latest_s", "is output"),
        ({"parameters": {"gb_s": "3"}}, "parameters.gb_s", "of type Real"),
        ({"parameters": {"gb_s": True}}, "parameters.gb_s", "of type Real"),
        ({"parameters": {"ranks": 1.5}}, "parameters.ranks", "of type Integer"),
        ({"parameters": {"doubled": 1}}, "parameters.doubled", "of type Boolean"),
        ({"parameters": {"gb_s": 0}}, "fmu", "does not begin: fmi2ExitInitializationMode failed.*no bandwidth"),
        ({"fmu": "/nowhere.fmu"}, "fmu", "no such file"),
        ({"fmu": __file__}, "fmu", "is no unit of FMI"),
        ({"python": "/nowhere"}, "python", "no such program"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(units, config, field, why):
    with pytest.raises(ConfigError, match=rf"(?s){why}") as caught:
        FmiMemory({"fmu": str(units["steady"]), "step_ns": 1000, **config}).declare(TEMPLATES)
    assert caught.value.field == field


def test_parameters_and_inputs_of_every_type_have_an_effect(units):
    given = {"gb_s": 25, "ranks": 2, "doubled": True, "ambient_c": 30.5, "fault": ""}
    assert ends(made(units["steady"], parameters=given), (0, READ, 200_000)) == [(0, 2 * US)]


def changed(fmu, folder, edit=lambda text: text, keep=lambda name: True):
    """The same unit with another model description, or without some of its files."""
    out = folder / fmu.name
    with zipfile.ZipFile(fmu) as old, zipfile.ZipFile(out, "w") as new:
        for name in filter(keep, old.namelist()):
            data = old.read(name)
            new.writestr(name, edit(data.decode()).encode() if name == "modelDescription.xml" else data)
    return out


@pytest.mark.parametrize(
    ("edit", "keep", "why"),
    [
        (
            lambda text: re.sub(r"<CoSimulation.*?/>", '<ModelExchange modelIdentifier="Steady"/>', text),
            None,
            "not for co-simulation",
        ),
        (lambda text: text.replace('fmiVersion="2.0"', 'fmiVersion="4.0"'), None, "is no unit of FMI|is of FMI 4.0"),
        (None, lambda name: "linux64" not in name, r"has no binary for linux64; it has win64"),
        (None, lambda name: name != "modelDescription.xml", "is no unit of FMI"),
        (lambda text: text.replace("</fmiModelDescription>", ""), None, "is no unit of FMI"),
    ],
)
def test_a_unit_that_is_none_for_us_is_refused(units, tmp_path, edit, keep, why):
    fmu = changed(units["steady"], tmp_path, edit or (lambda text: text), keep or (lambda name: True))
    with pytest.raises(ConfigError, match=why) as caught:
        made(fmu)
    assert caught.value.field == "fmu"


def test_an_interpreter_without_fmpy_and_no_tool_at_all_are_said(units, monkeypatch, tmp_path):
    (tmp_path / "fmpy.py").write_text("raise ImportError('no fmpy here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ConfigError, match="has no FMPy: no fmpy here") as caught:
        made(units["steady"], python=sys.executable)
    assert caught.value.field == "python"
    monkeypatch.setenv("METRONOME_TOOLS", str(tmp_path))
    with pytest.raises(ConfigError, match="fmi is not installed: `metronome tools install fmi`"):
        made(units["steady"])


def test_one_that_never_begins_is_said(units):
    with pytest.raises(ToolFailure, match="fmi, Steady.fmu, its beginning: .*did not answer within 2 s"):
        made(units["steady"], parameters={"fault": "never begins"}, timeout_s=2)


def test_one_that_cannot_be_loaded_is_refused(units, tmp_path):
    """Its library lacks a function of the standard."""
    if not shutil.which("cc"):
        missing("a C compiler")
    (tmp_path / "empty.c").write_text("int nothing;\n")
    subprocess.run(["cc", "-shared", "-o", tmp_path / "Steady.so", tmp_path / "empty.c"], check=True)
    fmu = changed(units["steady"], tmp_path, keep=lambda name: "linux64" not in name)
    with zipfile.ZipFile(fmu, "a") as unit:
        unit.write(tmp_path / "Steady.so", "binaries/linux64/Steady.so")
    with pytest.raises(ConfigError, match=r"does not begin: .*undefined symbol: fmi2") as caught:
        made(fmu)
    assert caught.value.field == "fmu"


def test_an_operation_twice_is_refused(units):
    memory = made(units["steady"])
    memory.advance(0, asking((0, READ, 100)))
    with pytest.raises(BadOperation, match="operation 0 is in progress already"):
        memory.advance(1, asking((1, READ, 100)))
