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
from metronome.hwmodels.interface import (
    Description,
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


@pytest.mark.parametrize("name", ROOFLINES)
def test_split_from_its_bytes_the_roofline_gives_the_same_bytes(name, cli, tmp_path):
    """FLOPs here, bytes in `bandwidth-latency` with the device's own figures: not a picosecond differs.

    Of a roofline of plain shares, which a stated one makes of kernels by family.
    """
    scenario = yaml.safe_load((ROOT / f"scenarios/{name}.yaml").read_text())
    others = {one for one, options in scenario.get("components", {}).items() if "model" in options}
    nodes = [n["name"] for n in scenario["cluster"]["nodes"] if f"{n['name']}.accelerators" not in others]
    wired = [part for node in nodes for part in ("--set", f"components.{node}.hbm={{}}")]
    for folder, more in (("whole", []), ("split", wired)):
        few = ["--set", "workload.limit=6"]
        for node in nodes:
            few += ["--set", f"components.{node}.accelerators.launch_overhead_ns=4000"]
        done = cli("run", name, "-o", tmp_path / folder, "--quiet", *few, *more)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "whole/requests.csv").read_bytes() == (tmp_path / "split/requests.csv").read_bytes()
    whole, split = (json.loads((tmp_path / one / "result.json").read_text())["metronome"] for one in ("whole", "split"))
    assert whole["energy_j"] == split["energy_j"]
    assert split["components"]["n0.accelerators"]["statistics"]["memory"]["model"] == "bandwidth-latency"


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


@given(m=st.integers(0, 10_000), attributes=st.sampled_from([GEMM, QUANTISED]))
def test_any_gemm_is_what_it_was(m, attributes):
    """But for the rounding of a second transfer, where inputs are converted first."""
    template = Template(0, "gemm", "x", attributes)
    model = Roofline({"device": "h100-sxm", "memory_efficiency": 0.8})
    rate = model._bytes_per_s / 1e9
    link = traffic_link(lambda: model, lambda: BandwidthLatency({"bandwidth_gb_s": rate}))
    link.declare([template])
    (done,) = link.advance(0, [Operation(0, (m,))], True).completions
    whole = model.estimate(template, (m,))
    assert abs(done.finish_ps - whole.duration_ps) <= (1 if "compute" in attributes else 0)


class Nothing(Config):
    pass


class OnlyReads(OracleModel[Nothing]):
    """A memory that knows no moves, as DRAMsim3: 1 ps a byte read, 2 a byte written."""

    description = Description("only", "memory", "1", TimePolicy.ORACLE, frozenset({"read", "write", "copy"}))

    def estimate(self, template, values):
        return Estimate(values[0] * (2 if template.kind == "write" else 1), Provenance.MODELLED)


def test_a_memory_that_knows_reads_and_writes_alone_is_asked_for_both():
    class Mover(Roofline):
        def traffic(self, operation):
            return Traffic((Moved(1000, 10, 5.0),), 7.0, Provenance.MODELLED)

    link = traffic_link(lambda: Mover({"device": "h100-sxm"}), lambda: OnlyReads({}))
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
            "systolic declares no traffic",
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


def test_it_says_that_plain_shares_answer(small):
    """Kernels that were measured contain their memory."""
    small["components"] = {"n0.hbm": {"model": "banked-dram", "part": "hbm3-5600", "count": 5}}
    split = metronome.run(small).metrics["metronome"]["components"]["n0.accelerators"]["statistics"]
    assert split["kernels"].startswith("plain shares") and split["relative_error"]["modelled"] == pytest.approx(0.3)
    small["components"] = {"n0.accelerators": {"launch_overhead_ns": 4000}}
    stated = metronome.run(small).metrics["metronome"]["components"]["n0.accelerators"]["statistics"]
    assert stated["kernels"] == "plain shares of the peak, since launch_overhead_ns is stated"
    del small["components"]
    alone = metronome.run(small).metrics["metronome"]["components"]["n0.accelerators"]["statistics"]
    assert alone["kernels"] == "as measured on h100-sxm" and alone["relative_error"]["modelled"] < 0.3


def test_energy_of_a_memory_that_is_the_devices_has_no_effect(small):
    small["components"] = {"n0.hbm": {"energy_pj_per_bit": 7}}
    with pytest.warns(NoEffectWarning, match=r"components\.n0\.hbm\.energy_pj_per_bit has no effect"):
        metronome.run(small)
