"""Traces re-parse, nest, have both ends of every arrow, and add up to the results."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
import yaml
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

SCENARIOS = (
    "quickstart",
    "prefill-decode",
    "prefill-decode-two-nodes",
    "tensor-pipeline-parallel",
    "expert-parallel",
    "attention-ffn",
)
BEGIN, END, COUNTER = TrackEvent.Type.TYPE_SLICE_BEGIN, TrackEvent.Type.TYPE_SLICE_END, TrackEvent.Type.TYPE_COUNTER


class Parsed:
    """``slices``: (track path, name, start ns, end ns, took_ps, flows)."""

    def __init__(self, path):
        trace = Trace()
        trace.ParseFromString(path.read_bytes())
        self.tracks = {}
        for packet in trace.packet:
            if packet.HasField("track_descriptor"):
                descriptor = packet.track_descriptor
                parent = self.tracks.get(descriptor.parent_uuid, ())
                assert descriptor.uuid not in self.tracks
                self.tracks[descriptor.uuid] = (*parent, descriptor.name)
        events = [p for p in trace.packet if p.HasField("track_event")]
        # As Perfetto does: by time, what is written first first.
        order = sorted(range(len(events)), key=lambda i: (events[i].timestamp, i))
        open_ = defaultdict(list)
        self.slices, self.counters = [], defaultdict(list)
        self.depth = 0
        for i in order:
            event = events[i].track_event
            track = self.tracks[event.track_uuid]
            if event.type == BEGIN:
                open_[track].append((event, events[i].timestamp))
                self.depth = max(self.depth, len(open_[track]))
            elif event.type == END:
                begun, start = open_[track].pop()  # fails where an end has no beginning
                facts = {a.name: a.int_value for a in begun.debug_annotations}
                self.slices.append(
                    (track, begun.name, start, events[i].timestamp, facts.get("took_ps"), list(begun.flow_ids))
                )
            else:
                assert event.type == COUNTER
                self.counters[track].append((events[i].timestamp, event.double_counter_value))
        assert not any(open_.values())  # every slice has an end


@pytest.fixture(scope="module", params=SCENARIOS)
def traced(request, tmp_path_factory):
    """A scenario's trace, its results, and a simulation of it that has run."""
    from click.testing import CliRunner
    from metronome.orchestrator.cli.run import command

    out = tmp_path_factory.mktemp("trace")
    overrides = ["--set", "workload.num_requests=12"]
    assert CliRunner().invoke(command, [request.param, "-o", str(out), "--trace", "--quiet", *overrides]).exit_code == 0
    assert not (out / "recording").exists()
    scenario, folder = load(request.param, ("workload.num_requests=12",))
    with Simulation(scenario, folder) as simulation:
        simulation.run()
        return Parsed(out / "trace.pftrace"), json.loads((out / "result.json").read_text()), simulation


def test_slices_nest(traced):
    """A slice ends before the one around it; checked against each track's own stack."""
    trace, _, _ = traced
    by_track = defaultdict(list)
    for track, name, start, end, took, _ in trace.slices:
        assert start <= end
        if took is not None:
            assert abs((end - start) * 1000 - took) < 1000
        by_track[track].append((start, -end, name))
    for track, slices in by_track.items():
        stack = []
        for start, minus_end, _ in sorted(slices):
            while stack and stack[-1] <= start:
                stack.pop()
            assert not stack or -minus_end <= stack[-1], track
            stack.append(-minus_end)


def test_every_flow_has_both_ends(traced):
    trace, result, _ = traced
    ends = Counter(flow for *_, flows in trace.slices for flow in flows)
    assert ends and min(ends.values()) >= 2
    assert sum(1 for flow in ends if flow >> 61) == result["completed"]


def test_requests_add_up_to_the_latencies(traced):
    trace, result, simulation = traced
    took = {
        name: took
        for track, name, _, _, took, _ in trace.slices
        if track[0] == "requests" and name.startswith("request ")
    }
    assert took == {f"request {s.request.id}": s.end_ps - s.request.arrival_ps for s in simulation.recorder.done}
    assert sum(took.values()) / len(took) / 1e9 == pytest.approx(result["mean_e2el_ms"], rel=1e-9)
    parts = defaultdict(int)
    for track, name, _, _, took, _ in trace.slices:
        if track[0] == "requests" and name in ("waiting", "prefill", "decode"):
            parts[track[1]] += took
    assert dict(parts) == {f"request {s.request.id}": s.end_ps - s.request.arrival_ps for s in simulation.recorder.done}


def test_operations_add_up_to_what_the_components_were_busy(traced):
    trace, _, simulation = traced
    busy = Counter()
    for track, _, _, _, took, _ in trace.slices:
        if track[0] not in ("requests", "instances"):
            busy[track[0]] += took
    for spec in simulation.specs:
        assert busy[spec.name] == sum(simulation.ports.usage(spec.name).spent_ps.values()), spec.name


def test_every_step_is_there(traced):
    trace, _, simulation = traced
    steps = [s for s in trace.slices if s[0][0] == "instances"]
    assert len(steps) == sum(loop.launched for loop in simulation.loops) > 0


def test_counters(traced):
    trace, _, simulation = traced
    for engine in simulation.replicas:
        for what in ("running", "waiting", "KV use"):
            values = [value for _, value in trace.counters[engine.name, what]]
            assert values and min(values) >= 0
        assert max(value for _, value in trace.counters[engine.name, "KV use"]) <= 100
    flying = {track: values for track, values in trace.counters.items() if track[-1] == "in flight"}
    for values in flying.values():
        assert values[-1][1] == 0 and max(value for _, value in values) >= 1
    assert any(value > 0 for track, values in trace.counters.items() if track[0] == "power" for _, value in values)


def test_a_recording_is_traced_alike(cli, tmp_path, small):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "small.yaml", "-o", tmp_path / "a", "--record", "--trace", "--quiet").exit_code == 0
    assert cli("replay", tmp_path / "a", "-o", tmp_path / "b", "--trace", "--quiet").exit_code == 0
    assert (tmp_path / "a" / "trace.pftrace").read_bytes() == (tmp_path / "b" / "trace.pftrace").read_bytes()


def test_a_run_that_fails_is_traced_as_far_as_it_came(cli, tmp_path, small):
    small["components"] = {
        "n0.accelerators": {"model": "tests.coupling.fakes:Dies", "run": "process", "on_failure": "fail"}
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "small.yaml", "-o", tmp_path / "a", "--trace", "--quiet").exit_code == 3
    trace = Parsed(tmp_path / "a" / "trace.pftrace")
    ends = Counter(flow for *_, flows in trace.slices for flow in flows)
    assert ends and min(ends.values()) >= 2


def test_without_the_package_it_says_what_to_install(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("metronome.orchestrator.record.replay.find_spec", lambda name: None)
    done = cli("run", "-o", tmp_path, "--trace")
    assert done.exit_code == 2 and "pip install 'metronome-cosim[trace]'" in done.output
