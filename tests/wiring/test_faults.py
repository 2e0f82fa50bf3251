"""What cannot be is refused before time 0; whoever breaks a rule while it runs is named: component, port, operation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from metronome.adapters.conformance.faulty import Faulty
from metronome.adapters.conformance.faulty_asker import Asker
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.interface import ConfigError, Feature, Operation, Template
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.wiring.group import Group
from metronome.hwmodels.wiring.local import LocalMember
from metronome.hwmodels.wiring.place import PortFault
from metronome.hwmodels.wiring.wires import resolve

READ = Template(0, "read", "weights")


def wired(components, wires):
    members = [LocalMember(name, component) for name, component in components.items()]
    group = Group(members, resolve(members, wires, 10), [0])
    for number, member in enumerate(members):
        member.component.declare(group.declared(number, [READ] if number == 0 else []))
    return group


def two(asker="", memory=""):
    parts = {"n0.a": Asker({"fault": asker}), "n0.m": Faulty({"fault": memory})}
    return wired(parts, [("n0.a.mem", "n0.m")])


def read(group, size=640):
    return group.play([(0, Operation(0, (size,), 5, 100))])


def test_two_that_keep_the_rules():
    answer = read(two())
    (done,) = answer.completions
    # Of ten requests four at a time: 64 ns each, one after another; 10 ns there, none back, one picosecond to be done.
    assert (done.op_id, done.start_ps, done.finish_ps) == (5, 100, 100 + 10_000 + 10 * 64_000 + 1)


@pytest.mark.parametrize(
    ("asker", "memory", "text"),
    [
        ("asks-in-the-past", "", r"n0\.a asks at port mem for load 0 at \d+ ps, in its past: it has reached \d+ ps"),
        ("overdraws", "", r"n0\.a asks at port mem for load 10000000 beyond its 4 credits"),
        ("asks-twice", "", r"n0\.a asks at port mem for load 3 again before it is answered"),
        ("asks-for-anything", "", r"n0\.a asks at port mem for template 7, which that does not have"),
        ("asks-anywhere", "", r"n0\.a asks at a port 'net'; its ports: mem"),
        ("forgets-an-answer", "", r"n0\.a never answers operation 5 \(read\): it promises nothing"),
        ("", "drops", r"n0\.m never answers load 2 of n0\.a, port mem: it promises nothing"),
        ("", "repeats", r"n0\.m answered load 1 of n0\.a, port mem twice"),
        ("", "invents", r"n0\.m answered operation 777, which it was not asked by n0\.a, port mem$"),
        ("", "over-reaches", r"n0\.m reached \d+ ps, beyond its grant of \d+ ps"),
        ("", "promises-late", r"n0\.m completed load 0 of n0\.a, port mem at \d+ ps, and had promised nothing before"),
        ("", "promises-nothing", r"n0\.m never answers load 0 of n0\.a, port mem: it promises nothing"),
        ("", "takes-no-time", r"n0\.m completed load 0 of n0\.a, port mem at 10100 ps: it is due at 10100 ps"),
    ],
)
def test_who_breaks_a_rule_is_named(asker, memory, text):
    with pytest.raises(PortFault, match=text):
        read(two(asker, memory))


def test_a_request_before_the_least_latency_is_over():
    group = two("asks-too-soon")
    with pytest.raises(
        PortFault, match=r"n0\.a asks at port mem for load 0 at 10099 ps: nothing made it ask before 100"
    ):
        group.advance(200, [(0, Operation(0, (640,), 5, 100))])


def test_a_deadlock_names_who_waits_for_whom():
    """Each has to answer the other before it goes on, one operation at a time."""
    parts = {"n0.a": Asker({"credits": 1}), "n0.b": Asker({"credits": 1})}
    with pytest.raises(PortFault) as found:
        group = wired_in_a_circle(parts)
        read(group)
    assert str(found.value) == (
        "n0.a is in a deadlock: n0.a owes operation 5 (read), waiting for 0 at its port mem; "
        "n0.b owes load 0 of n0.a, port mem, waiting for 0 at its port mem"
    )


def wired_in_a_circle(parts):
    return wired(parts, [("n0.a.mem", "n0.b"), ("n0.b.mem", "n0.a")])


@pytest.mark.parametrize(
    ("wires", "field", "text"),
    [
        ([], "wires", "is wired to nothing"),
        ([("n0.a.net", "n0.m")], "wires.0.from", "has no port 'net'; known: mem"),
        ([("n0.ool.mem", "n0.m")], "wires.0.from", "did you mean 'n0.old'?"),
        ([("n0.m.mem", "n0.a")], "wires.0.from", "has no port 'mem'; it asks nobody"),
        ([("n0.a.mem", "n0.ol")], "wires.0.to", "did you mean 'n0.old'?"),
        ([("n0.a.mem", "n0.m"), ("n0.a.mem", "n0.m")], "wires.1.from", "is wired twice"),
        ([("n0.a.mem", "n0.r")], "wires.0.to", "asks a piece of memory; roofline models one of accelerator"),
        ([("n0.a.mem", "n0.old")], "wires.0.to", "asks for load, which bandwidth-latency does not do"),
    ],
)
def test_what_cannot_be_wired_is_refused(wires, field, text):
    old = BandwidthLatency({"bandwidth_gb_s": 1})
    old.description = replace(old.description, op_kinds=frozenset({"read"}))
    members = [
        LocalMember("n0.a", Asker({})),
        LocalMember("n0.m", Faulty({})),
        LocalMember("n0.r", Roofline({"device": "h100-sxm"})),
        LocalMember("n0.old", old),
    ]
    with pytest.raises(ConfigError) as found:
        resolve(members, wires)
    assert found.value.field == field and text in found.value.allowed


def test_a_cycle_without_lookahead_is_refused_and_named():
    parts = {name: Asker({"latency_ps": latency}) for name, latency in (("n0.a", 0), ("n0.b", 0), ("n0.c", 5))}
    members = [LocalMember(name, part) for name, part in parts.items()]
    with pytest.raises(ConfigError) as found:
        resolve(members, [("n0.c.mem", "n0.a"), ("n0.a.mem", "n0.b"), ("n0.b.mem", "n0.a")])
    assert found.value.value == "n0.a -> n0.b -> n0.a" and "a cycle without lookahead" in found.value.allowed
    resolve(members, [("n0.c.mem", "n0.a"), ("n0.a.mem", "n0.b"), ("n0.b.mem", "n0.c")])  # 5 ps somewhere will do


def test_a_component_without_ports_is_described_as_before():
    assert BandwidthLatency.description.ports == () and Feature.PORTS not in BandwidthLatency.description.features
