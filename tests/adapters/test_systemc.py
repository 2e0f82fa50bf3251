"""TLM-2.0 targets behind our initiator: their closed forms to the picosecond, who meets whom, their contract."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.adapters.systemc import Lasting, SystemC
from metronome.adapters.tools import environment
from metronome.adapters.tools.failure import ToolFailure
from metronome.hwmodels.interface import MAX_PS, BadOperation, ConfigError, Operation, Template
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency

from ..conftest import ROOT, need_tool
from .contract import keeps_the_contract

KINDS = ("read", "write", "copy", "move", "load", "store")
TEMPLATES = [Template(number, kind, kind, {"pattern": "stream"}) for number, kind in enumerate(KINDS)]
READ, WRITE, COPY, MOVE, LOAD, STORE = range(len(KINDS))
BOTH = pytest.mark.parametrize("model", [SystemC, Lasting])
BURST = 64
BUS_PS = 4000  # of a burst at 16 GB/s


@pytest.fixture(scope="session")
def tool():
    need_tool("systemc")


@pytest.fixture(scope="session")
def targets(tool, tmp_path_factory):
    """The program with the targets of `tlm/targets.cc` in it."""
    program = tmp_path_factory.mktemp("tlm") / "targets"
    environment.build("systemc", [ROOT / "tests/adapters/tlm/targets.cc"], program)
    return str(program)


def made(model=SystemC, **config):
    memory = model(config)
    memory.declare(TEMPLATES)
    return memory


def ends(memory, *operations):
    """When each of (at, template, values) ends."""
    asked = [Operation(template, values, number, at) for number, (at, template, values) in enumerate(operations)]
    done = memory.advance(10**15, asked).completions
    return [one.finish_ps for one in sorted(done, key=lambda one: one.op_id)]


@BOTH
@pytest.mark.parametrize("protocol", ["lt", "at"])
@pytest.mark.parametrize(("size", "access_ns"), [(64, 30), (1, 30), (17, 12.345), (64, 0)])
def test_a_burst_alone_takes_its_access_and_its_bytes(tool, model, protocol, size, access_ns):
    memory = made(model, protocol=protocol, settings={"access_ns": access_ns, "bandwidth_gb_s": 16})
    took = round(access_ns * 1000) + round(size * 1000 / 16 + 1e-9)
    for at_ps in (0, 5 * 10**9):
        (done,) = memory.advance(at_ps + 10**9, [Operation(READ, (size,), 0, at_ps)]).completions
        assert (done.start_ps, done.finish_ps - at_ps) == (at_ps, took)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 40), st.integers(0, 200), st.sampled_from([READ, WRITE]))
def test_a_stream_takes_its_closed_form(tool, bursts, banks, outstanding, access_ns, kind):
    """Of banks and bursts on their way the fewer, k, take turns: either they keep the bus busy, or each k bursts take an
    access and one burst's time on the bus."""
    memory = made(outstanding=outstanding, settings={"banks": banks, "access_ns": access_ns})
    k, access = min(banks, outstanding), access_ns * 1000
    slow = (bursts - 1) // k * (access + BUS_PS) + access + ((bursts - 1) % k + 1) * BUS_PS
    expected = access + bursts * BUS_PS if access <= (k - 1) * BUS_PS else slow
    assert ends(memory, (0, kind, (bursts * BURST,))) == [expected]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 9000), st.integers(1, 9000))
def test_four_phases_take_their_closed_form(targets, bursts, accept_ps, beat_ps):
    """A request is made when the one before it is accepted; answers come a beat apart, or as requests do."""
    config = {"program": targets, "protocol": "at", "outstanding": 1024}
    memory = made(**config, settings={"accept_ps": accept_ps, "beat_ps": beat_ps, "latency_ps": 50_000})
    expected = 50_000 + (bursts - 1) * max(accept_ps, beat_ps)
    assert ends(memory, (0, READ, (bursts * BURST,))) == [expected]


def test_one_burst_at_a_time_waits_for_each(targets):
    memory = made(program=targets, protocol="at", outstanding=1, settings={"latency_ps": 50_000})
    assert ends(memory, (0, READ, (10 * BURST,))) == [10 * 50_000]


@pytest.mark.parametrize("protocol", ["lt", "at"])
def test_a_target_with_a_clock_answers_at_its_edges(targets, protocol):
    """In the third edge after it comes; edges are at whole nanoseconds of the simulation, which begins with it."""
    memory = made(program=targets, protocol=protocol, settings={"target": "clocked", "cycles": 3})
    assert [end - 777 for end in ends(memory, (777, READ, (BURST,)))] == [3000]


@BOTH
def test_two_users_take_turns(tool, model):
    """Both are in order, eight banks apart. All that may be on their way are of the first; from then on the bus serves a
    burst of the one, then of the other."""
    n, access, ahead = 104, 30_000, 32
    alone = ends(made(model), (0, LOAD, (n * BURST, 0)))
    both = ends(made(model), (0, LOAD, (n * BURST, 0)), (0, LOAD, (n * BURST, 8 * BURST)))
    assert alone == [access + n * BUS_PS]
    assert both == [access + (2 * n - 1 - ahead) * BUS_PS, access + 2 * n * BUS_PS]


def test_a_short_one_does_not_wait_for_all_of_a_long_one(tool):
    """It is behind the 32 bursts that are on their way when it comes, at most."""
    long, short = ends(made(), (0, LOAD, (10_000 * BURST, 0)), (10**6, LOAD, (BURST, 0)))
    assert 10**6 + 30_000 < short < 10**6 + 2 * 30_000 + 34 * BUS_PS
    assert 0 <= long - (30_000 + 10_001 * BUS_PS) < 30_000 + BUS_PS  # whose bank it may wait for


@pytest.mark.parametrize(
    ("template", "values", "turns"),
    [
        (READ, (40 * BURST,), 0),
        (COPY, (40 * BURST,), 79),
        (MOVE, (40 * BURST, 40 * BURST), 79),
        (MOVE, (40 * BURST, 10 * BURST), 19),
        (MOVE, (0, 10 * BURST), 0),
    ],
)
def test_what_is_read_and_written_goes_side_by_side(targets, template, values, turns):
    memory = made(program=targets, settings={"target": "turns", "hit_ps": 1000, "miss_ps": 70})
    bursts = sum(values) // BURST * (2 if template == COPY else 1)
    (end,) = ends(memory, (0, template, values))
    assert bursts * 1000 + turns * 70 <= end <= bursts * 1000 + (turns + 1) * 70
    read = values[0] if template != COPY else 40 * BURST
    assert memory.statistics() == {"read_bytes": read, "written_bytes": bursts * BURST - read}


def test_one_keeps_its_rows_the_other_begins_anew(targets):
    config = {"program": targets, "settings": {"target": "rows", "hit_ps": 5000, "miss_ps": 40_000}}
    work = [(at, LOAD, (BURST, 0)) for at in (0, 10**6, 2 * 10**6)]
    took = {
        model: [end - at for end, (at, _, _) in zip(ends(made(model, **config), *work), work, strict=True)]
        for model in (SystemC, Lasting)
    }
    assert took == {SystemC: [40_000] * 3, Lasting: [40_000, 5000, 5000]}


@pytest.mark.parametrize("cut", [[], [10**6], [10**6, 10**6 + 1, 10**6 + 3000], range(0, 10**7, 12_345)])
@BOTH
def test_what_has_no_address_lies_behind_what_came_before_it(targets, model, cut):
    """However time is cut. Reads of eight bursts, two in a row of 1 KiB: 107,000 ps where they begin one, else 8000."""
    memory = made(model, program=targets, settings={"target": "rows", "hit_ps": 1000, "miss_ps": 100_000})
    times = (0, 10, 10**6, 3 * 10**6, 3 * 10**6 + 1)
    left, found = [Operation(READ, (512,), number, at) for number, at in enumerate(times)], []
    for grant in [*cut, 10**9]:
        due = [one for one in left if one.at_ps <= grant]
        left = left[len(due) :]
        found += memory.advance(grant, due).completions
    took = [one.finish_ps - one.start_ps for one in sorted(found, key=lambda one: one.op_id)]
    fourth = 8000 if model is Lasting else 107_000  # which is the first again
    assert took == [107_000, 115_000 - 10, 107_000, fourth, 115_000 - 1]


MOMENTS = st.integers(0, 400_000)


@BOTH
@pytest.mark.parametrize(
    "config",
    [{"settings": {"target": "rows"}}, {"settings": {"target": "clocked"}}, {"protocol": "at", "outstanding": 3}],
    ids=["rows", "clocked", "pipe"],
)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(MOMENTS, st.sampled_from([READ, WRITE, COPY]), st.integers(0, 400)), min_size=1, max_size=6),
    st.lists(st.tuples(MOMENTS, st.booleans()), max_size=5),
)
def test_how_time_is_cut_changes_nothing(targets, model, config, work, cuts):
    """Granted in pieces, some to where something ends, or to the first completion, as in one grant. Nothing ends before
    it was promised, nor is it said later than it was reached."""
    asked = [Operation(kind, (size,), number, at) for number, (at, kind, size) in enumerate(sorted(work))]
    whole = made(model, program=targets, **config).advance(10**9, asked).completions
    memory, found, promised, now = made(model, program=targets, **config), [], None, -1
    for grant, stop in sorted([*cuts, (10**9, False), *((one.finish_ps, False) for one in whole[::2])]):
        if grant < now:
            continue
        due, asked = [o for o in asked if o.at_ps <= grant], [o for o in asked if o.at_ps > grant]
        soonest = min([*([] if promised is None else [promised]), *(one.at_ps + 1 for one in due)], default=None)
        said = memory.advance(grant, due, stop)
        assert all(max(now + 1, soonest) <= one.finish_ps <= said.reached_ps for one in said.completions)
        found += said.completions
        now, promised = said.reached_ps, said.next_event_ps
    assert sorted(found) == sorted(whole) and promised is None


def test_addresses_wrap_at_its_size(targets):
    rows = {"program": targets, "settings": {"target": "rows", "limit": 2**20}}
    with pytest.raises(ToolFailure, match="a read of 64 bytes at address 0x100000 with TLM_ADDRESS_ERROR_RESPONSE"):
        ends(made(**rows), (0, LOAD, (BURST, 2**20)))
    wrapped = made(**rows, size_gib=2**-10)
    assert ends(wrapped, (0, LOAD, (BURST, 2**20)), (0, LOAD, (BURST, 0))) == [40_000, 45_000]
    with pytest.raises(ConfigError, match="size_gib"):
        made(size_gib=2**-30)


@pytest.mark.parametrize("size", [0, 1, 64, 4096, 100_000])
@BOTH
def test_one_bank_asked_for_a_burst_at_a_time_is_the_reference_model(tool, model, size):
    config = {"banks": 1, "access_ns": 90, "bandwidth_gb_s": 100}
    memory = made(model, outstanding=1, burst_bytes=1 << 20, settings=config)
    reference = BandwidthLatency({"bandwidth_gb_s": 100, "latency_ns": 90})
    reference.declare(TEMPLATES)
    work = [(at, READ, (max(1, size + more),)) for more, at in enumerate((0, 10, 10, 10**7))]
    assert ends(memory, *work) == ends(reference, *work)


CASES = {
    "banks": {},
    "banks-at": {"protocol": "at"},
    "pipe": {"settings": {}, "protocol": "at"},
    "pipe-lt": {"settings": {}},
    "rows": {"settings": {"target": "rows"}},
    "clocked": {"settings": {"target": "clocked"}, "outstanding": 3},
    "at-once": {"settings": {"target": "at-once"}},
}


@pytest.mark.parametrize("case", CASES)
@BOTH
def test_it_keeps_the_contract(targets, model, case, tmp_path):
    program = {} if case.startswith("banks") else {"program": targets}
    keeps_the_contract(model, {**CASES[case], **program}, tmp_path)


#: target -> what is said of it
FAULTS = {
    "never": r"never answers \(transfers under way: 1; nothing else will happen",
    "forever": "did not answer within 1 s",
    "wakes": "did not answer within 1 s",
    "fatal": r"SC_FATAL of odd: out of sand \(.*targets.cc:",
    "late-fatal": "SC_FATAL of odd: out of sand",
    "error": "SC_ERROR of odd: out of sand",
    "throws": "out of sand",
    "stops": "the target has called sc_stop",
    "address": "a read of 64 bytes at address 0x0 with TLM_ADDRESS_ERROR_RESPONSE",
    "silent": "TLM_INCOMPLETE_RESPONSE",
    "exits": "exited with code 3.*out of sand",
    "crashes": "was killed by SIGABRT.*out of sand",
}


@pytest.mark.parametrize("fault", FAULTS)
@BOTH
def test_a_target_that_fails_is_one_failure_that_says_why(targets, model, fault):
    memory = made(model, program=targets, timeout_s=1, settings={"target": fault})
    name = model.description.name
    with pytest.raises(ToolFailure, match=rf"(?s)^{name}, 1 transfer from 0 ps on: .*{FAULTS[fault]}"):
        memory.advance(MAX_PS, [Operation(READ, (1000,))])


@pytest.mark.parametrize(
    ("target", "why"), [("resolution", "time resolution of 1 fs, not 1 ps"), ("unbound", "has bound no socket")]
)
def test_one_that_cannot_be_asked_is_said_before_time_0(targets, target, why):
    with pytest.raises(ToolFailure, match=f"systemc, its beginning: .*{why}"):
        made(program=targets, settings={"target": target})


@pytest.mark.parametrize(
    ("config", "field", "why"),
    [
        ({"settings": {"bank": 3}}, "settings.bank", "it knows access_ns, bandwidth_gb_s, banks, stripe_bytes"),
        ({"settings": {"banks": 0}}, "settings.banks", "from 1 to 65536"),
        ({"settings": {"banks": -1}}, "settings.banks", "a whole number"),
        ({"settings": {"access_ns": "soon"}}, "settings.access_ns", "a number"),
        ({"settings": {"a b": 1}}, "settings", "a name is one word"),
        ({"settings": {"a": "b\nbegin"}}, "settings", "one line"),
        ({"burst_bytes": 0}, "burst_bytes", "greater than 0"),
        ({"outstanding": 0}, "outstanding", "greater than 0"),
        ({"protocol": "rtl"}, "protocol", "'lt' or 'at'"),
        ({"program": "./nothing"}, "program", "no such program"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(tool, config, field, why):
    with pytest.raises(ConfigError, match=why) as caught:
        made(**config)
    assert caught.value.field == field


def test_an_operation_twice_is_refused(tool):
    memory = made()
    memory.advance(0, [Operation(READ, (64,), 1, 10)])
    with pytest.raises(BadOperation, match="1 is in progress"):
        memory.advance(0, [Operation(READ, (64,), 1, 20)])


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (["= fine"], "'fine' instead of ok"),
        (["= ok", "= no"], "beginning anew: answered 'no' instead of ok"),
        (["= ok", "= ok", "= soup"], "'soup', which is not what a run is answered"),
        (["= ok", "= ok", "= 5 0 7"], "'5 0 7', which is not what a run is answered"),
        (["= ok", "= ok", "= 5 0 7 5"], "transfer 7 has ended, which is not under way"),
        (["= ok", "= ok"], "exited with code 0"),
    ],
)
def test_a_program_that_answers_nonsense_is_refused(answers, why, tmp_path):
    fake = tmp_path / "target"
    fake.write_text(f"#!{sys.executable}\nfor one in {answers!r}:\n    input(); print(one, flush=True)\n")
    fake.chmod(0o755)
    with pytest.raises(ToolFailure, match=f"systemc.*{why}"):
        made(program=str(fake)).advance(100, [Operation(READ, (8,))])
