"""An accelerator whose memory is a component of its own (`n0.hbm`): the same bytes by the same figures, others by others."""

from __future__ import annotations

import json
import re

import metronome
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.base import Config, Estimate, OracleModel
from metronome.hwmodels.catalog import facts
from metronome.hwmodels.interface import (
    Description,
    Feature,
    Moved,
    Operation,
    Overlap,
    Pattern,
    Provenance,
    Template,
    TimePolicy,
    Traffic,
)
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.orchestrator.coupling.link import LocalLink
from metronome.orchestrator.coupling.traffic import TrafficLink, put_together
from metronome.orchestrator.errors import InputError, NoEffectWarning
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation

from ..conftest import ROOT

GOLDEN = sorted(json.loads((ROOT / "tests/scenarios/golden.json").read_text()))
ROOFLINES = [name for name in GOLDEN if name not in ("systolic-array", "quickstart-processes")]
GEMM = {"n": 4096, "k": 4096, "dtype": "bf16"}
QUANTISED = {**GEMM, "weight_dtype": "fp8", "weight_bits": 8, "compute": "fp8"}


@pytest.mark.parametrize("shares", ["by family", "plain"])
@pytest.mark.parametrize("name", ROOFLINES)
def test_split_from_its_bytes_the_roofline_gives_the_same_bytes(name, shares, cli, tmp_path):
    """FLOPs here, bytes in `bandwidth-latency` with the device's own figures: not a picosecond differs.

    Of kernels by family, and of plain shares, which a stated one makes of them.
    """
    scenario = yaml.safe_load((ROOT / f"scenarios/{name}.yaml").read_text())
    others = {one for one, options in scenario.get("components", {}).items() if "model" in options}
    nodes = [n["name"] for n in scenario["cluster"]["nodes"] if f"{n['name']}.accelerators" not in others]
    wired = [part for node in nodes for part in ("--set", f"components.{node}.hbm={{}}")]
    for folder, more in (("whole", []), ("split", wired)):
        few = ["--set", "workload.limit=6"]
        for node in nodes if shares == "plain" else []:
            few += ["--set", f"components.{node}.accelerators.launch_overhead_ns=4000"]
        done = cli("run", name, "-o", tmp_path / folder, "--quiet", *few, *more)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "whole/requests.csv").read_bytes() == (tmp_path / "split/requests.csv").read_bytes()
    whole, split = (json.loads((tmp_path / one / "result.json").read_text())["metronome"] for one in ("whole", "split"))
    assert whole["energy_j"] == split["energy_j"]
    known, asked = (one["components"]["n0.accelerators"]["statistics"] for one in (whole, split))
    assert asked.pop("memory")["model"] == "bandwidth-latency" and asked == known


def test_a_run_with_it_is_recorded_replayed_and_told(cli, tmp_path):
    wired = ("--set", "components.n0.hbm={model: banked-dram, part: ddr5-4800, count: 40}")
    done = cli("run", "quickstart", "--set", "workload.num_requests=3", *wired, "-o", tmp_path / "o", "--record")
    assert done.exit_code == 0 and re.search(
        r"n0.hbm +banked-dram: \d+ answers, in those of n0.accelerators", done.output
    )
    assert cli("replay", tmp_path / "o", "-o", tmp_path / "again").exit_code == 0
    assert (tmp_path / "o/requests.csv").read_bytes() == (tmp_path / "again/requests.csv").read_bytes()


def test_a_slower_memory_is_felt_by_decodes(cli, small, tmp_path):
    """Half the bandwidth: what is bound by memory takes twice as long, the launches of kernels what they took."""
    small["workload"] |= {"num_requests": 1}
    found = {}
    for name, hbm in (("own", {}), ("half", {"bandwidth_gb_s": 3352 * 0.8 / 2})):
        small["components"] = {"n0.hbm": hbm}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
        done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / name, "--quiet")
        assert done.exit_code == 0, done.output
        found[name] = json.loads((tmp_path / name / "result.json").read_text())["mean_tpot_ms"]
    assert 1.2 * found["own"] < found["half"] < 2 * found["own"]


def test_a_surrogate_in_front_keeps_answers_of_each_memory_apart(cli, small, tmp_path, monkeypatch):
    monkeypatch.setenv("METRONOME_CACHE", str(tmp_path / "cache"))
    small["workload"] |= {"num_requests": 2}
    found = []
    for number, rate in enumerate((2000, 500, 2000)):
        small["components"] = {"n0.accelerators": {"surrogate": {}}, "n0.hbm": {"bandwidth_gb_s": rate}}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
        assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / str(number), "--quiet").exit_code == 0
        found.append(json.loads((tmp_path / str(number) / "result.json").read_text()))
    assert found[0]["mean_tpot_ms"] == found[2]["mean_tpot_ms"] < found[1]["mean_tpot_ms"] / 1.5
    calls = [r["metronome"]["components"]["n0.accelerators"]["statistics"]["surrogate"]["wall_calls"] for r in found]
    assert calls[0] and calls[1] and not calls[2]


@pytest.mark.parametrize("model", [{"model": "bandwidth-latency"}, {"model": "banked-dram", "part": "hbm2-2000"}])
def test_the_memory_may_be_anywhere(cli, small, tmp_path, model):
    small["workload"] |= {"num_requests": 2}
    for where in ("inprocess", "process"):
        small["components"] = {"n0.hbm": {**model, "run": where}}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
        done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / where, "--quiet")
        assert done.exit_code == 0, done.output
    assert (tmp_path / "inprocess/requests.csv").read_bytes() == (tmp_path / "process/requests.csv").read_bytes()


def traffic_link(accelerator, memory=None):
    return TrafficLink(
        LocalLink("n0.accelerators", accelerator),
        LocalLink("n0.hbm", memory or (lambda: BandwidthLatency({"bandwidth_gb_s": 1000}))),
    )


@given(
    m=st.integers(1, 10_000),
    attributes=st.sampled_from([GEMM, QUANTISED]),
    stated=st.sampled_from([{}, {"memory_efficiency": 0.8}, {"power_cap_w": 400}]),
)
def test_any_gemm_is_what_it_was(m, attributes, stated):
    template = Template(0, "gemm", "x", attributes)
    model = Roofline({"device": "h100-sxm", **stated})
    rate = model._bytes_per_s / 1e9
    link = traffic_link(lambda: model, lambda: BandwidthLatency({"bandwidth_gb_s": rate}))
    link.declare([template])
    (done,) = link.advance(0, [Operation(0, (m,))], True).completions
    whole = model.estimate(template, (m,))
    assert (done.finish_ps, done.energy_pj) == (whole.duration_ps, whole.energy_pj)


@pytest.mark.parametrize("half", ["h100-sxm", "a100-80g-sxm", "tpu-v5e"])
def test_a_memory_of_another_rate_is_a_device_of_another_rate(half):
    """A device of the catalog and one with twice its bandwidth, which has a memory half as fast beside it."""
    stated = facts("devices", half)
    ours = Roofline({"device": stated})
    twice = Roofline({"device": {**stated, "memory_bandwidth_gb_s": 2 * stated["memory_bandwidth_gb_s"]}})
    link = traffic_link(lambda: twice, lambda: BandwidthLatency({"bandwidth_gb_s": ours._bytes_per_s / 1e9}))
    templates = [
        Template(0, "gemm", "x", GEMM),
        Template(1, "norm", "y", {"width": 4096, "dtype": "bf16"}),
    ]
    link.declare(templates)
    for template in templates:
        for m in (1, 100, 10_000):
            (done,) = link.advance(0, [Operation(template.id, (m,))], True).completions
            assert done.finish_ps == pytest.approx(ours.estimate(template, (m,)).duration_ps, abs=2)


class Nothing(Config):
    pass


class OnlyReads(OracleModel[Nothing]):
    """A memory that knows no moves, as DRAMsim3: 1 ps a byte read, 2 a byte written."""

    description = Description("only", "memory", "1", TimePolicy.ORACLE, frozenset({"read", "write", "copy"}))

    def estimate(self, template, values):
        return Estimate(values[0] * (2 if template.kind == "write" else 1), Provenance.MODELLED)


class Mover(OracleModel[Nothing]):
    """An accelerator that says how its work and its memory's go together, and knows no energy."""

    description = Description(
        "mover", "accelerator", "1", TimePolicy.ORACLE, frozenset({"gemm"}), features=frozenset({Feature.TRAFFIC})
    )

    def estimate(self, template, values):
        raise AssertionError("its memory is another's")

    def traffic(self, operation):
        return Traffic((Moved(1000, 10, 5.0),), 7.0, Provenance.MODELLED)


def test_a_memory_that_knows_reads_and_writes_alone_is_asked_for_both():
    link = traffic_link(lambda: Mover({}), lambda: OnlyReads({}))
    link.declare([Template(0, "gemm", "x", GEMM)])
    (done,) = link.advance(0, [Operation(0, (1,), 3, 100)], True).completions
    assert (done.op_id, done.start_ps, done.finish_ps, done.energy_pj) == (3, 100, 100 + 1020 + 7, None)


@pytest.mark.parametrize(
    ("overlap", "tiles", "took"),
    [(Overlap.NONE, 1, 130), (Overlap.TILES, 10, 103), (Overlap.TILES, 1, 130), (Overlap.PERFECT, 1, 100)],
)
def test_work_and_memory_go_together_as_the_model_says(overlap, tiles, took):
    for own, memory in ((100.0, 30), (30.0, 100)):
        assert put_together(Moved(1, 1, own, Pattern.STREAM, overlap, tiles), memory) == took


@pytest.mark.parametrize(
    ("components", "why"),
    [
        (
            {"n0.accelerators": {"model": "systolic", "rows": 8, "columns": 8, "clock_mhz": 1}},
            r"components\.n0\.hbm: systolic, which answers for n0\.accelerators, declares no traffic",
        ),
        (
            {"n0.accelerators": {"model": "composite", "parts": {"else": "roofline"}}},
            "composite, .* declares no traffic, whatever models it may be made of do: nobody would ask this memory",
        ),
        ({"n0.accelerators": {"run": "process"}}, "asked for its traffic in this process"),
        ({"n0.hbm": {"model": "fabric"}}, "not of memory"),
        ({"n7.hbm": {}}, "no such hardware"),
    ],
)
def test_what_cannot_be_wired_is_said_before_time_0(small, tmp_path, components, why):
    small["components"] = {"n0.hbm": {}, **components}
    with pytest.raises(InputError, match=why), Simulation(validate(small, "test"), tmp_path):
        pass


def test_kernels_beside_another_memory_were_not_measured(small):
    """They were with the device's own: with that, said or unsaid, they are what was measured."""
    found = {}
    for name, components in {
        "alone": {},
        "own": {"n0.hbm": {}},
        "other": {"n0.hbm": {"model": "banked-dram", "part": "hbm3-5600", "count": 5}},
        "stated": {"n0.accelerators": {"launch_overhead_ns": 4000}},
    }.items():
        small["components"] = components
        found[name] = metronome.run(small).metrics["metronome"]["components"]["n0.accelerators"]["statistics"]
    said = {name: one["kernels"] for name, one in found.items()}
    assert said == {
        "alone": "as measured on h100-sxm",
        "own": "as measured on h100-sxm",
        "other": "guessed: as measured on h100-sxm",
        "stated": "plain shares of the peak, since launch_overhead_ns is stated",
    }
    errors = {name: one["relative_error"]["modelled"] for name, one in found.items()}
    assert errors["alone"] == errors["own"] < errors["other"] and errors["stated"] == pytest.approx(0.3)


def test_statistics_are_of_the_memory_that_answered(small):
    """A device under a cap, and one of twice the bandwidth beside a memory of half of it: one clock, one error."""
    stated, found = facts("devices", "h100-sxm"), []
    for times, hbm in ((1, None), (2, {"bandwidth_gb_s": Roofline({"device": stated})._bytes_per_s / 1e9})):
        rate = times * stated["memory_bandwidth_gb_s"]
        small["devices"] = {"own": {**stated, "memory_bandwidth_gb_s": rate}}
        small["cluster"]["nodes"][0]["accelerators"]["type"] = "own"
        small["components"] = {"n0.accelerators": {"power_cap_w": 250}} | ({} if hbm is None else {"n0.hbm": hbm})
        result = metronome.run(small)
        statistics = result.metrics["metronome"]["components"]["n0.accelerators"]["statistics"]
        found.append((result.metrics["mean_tpot_ms"], statistics["mean_clock"]))
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_the_memory_is_that_of_the_device_that_the_component_names(small):
    """The node's type says another."""
    own = {"n0.accelerators": {"device": "a100-80g-sxm"}}
    found = []
    for more in ({}, {"n0.hbm": {}}):
        small["components"] = own | more
        found.append(metronome.run(small).metrics["mean_tpot_ms"])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"failures": [{"component": "n0.hbm", "slowdown": 8, "at_s": 0}]},
            "n0.accelerators asks it alone, and waits for it: name that",
        ),
        ({"components": {"n0.hbm": {"surrogate": {}}}}, "give n0.accelerators the surrogate"),
    ],
)
def test_what_has_no_effect_on_a_memory_asked_aside_is_refused(small, change, why):
    with pytest.raises(InputError, match=why):
        metronome.run({**small, "components": {"n0.hbm": {}}} | change)


def test_energy_of_a_memory_that_is_the_devices_has_no_effect(small):
    small["components"] = {"n0.hbm": {"energy_pj_per_bit": 7}}
    with pytest.warns(NoEffectWarning, match=r"components\.n0\.hbm\.energy_pj_per_bit has no effect"):
        metronome.run(small)
