"""``gemv: pim`` as part of a run: what a step takes, where the matrices are, who is told of it."""

from __future__ import annotations

from math import ceil

import pytest
from metronome.orchestrator.api import load, run
from metronome.orchestrator.coupling.executor import Executor
from metronome.orchestrator.coupling.hooks import CouplingHooks
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.why import why, why_all
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.kernel.instrument import Instruments
from metronome.orchestrator.kernel.loop import Kernel
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.serving.batch import Batch
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource
from metronome.orchestrator.units import PJ_PER_J

from ..conftest import ROOT
from ..power.test_ledger import adds_up
from .test_pim_gemv import by_timing

GIB = 2**30
LAYERS = 32
#: n x k of Llama-3.1-8B's matrices in a layer, by the name of the operation
MATRICES = {
    "qkv_proj": (6144, 4096),
    "o_proj": (4096, 4096),
    "gate_up_proj": (28672, 4096),
    "down_proj": (4096, 14336),
}
COPY = 2 * LAYERS * sum(n * k for n, k in MATRICES.values())  # bytes


def scenario(requests=1, tp=1, **instance):
    """Llama-3.1-8B on H100 with five HBM3-PIM stacks each; all requests at once, of the same lengths."""
    return {
        "name": "gemv",
        "workload": {
            "format": "synthetic",
            "num_requests": requests,
            "request_rate": 1e6,
            "input_tokens": {"distribution": "fixed", "mean": 100},
            "output_tokens": {"distribution": "fixed", "mean": 20},
        },
        "cluster": {
            "nodes": [
                {
                    "name": "n0",
                    "accelerators": {"type": "h100-sxm", "count": tp},
                    "memory": {"pim": {"part": "hbm3-pim", "devices_per_accelerator": 5}},
                }
            ],
            "networks": [{"name": "nvlink", "type": "nvlink4", "connects": ["n0.accelerators"]}] if tp > 1 else [],
        },
        "instances": [
            {
                "name": "chat",
                "model": "meta-llama/Llama-3.1-8B",
                "accelerators": f"n0[0:{tp}]",
                "gemv": "pim",
                **instance,
            }
        ],
    }


def simulated(described, folder):
    return Simulation(validate(described, "test"), folder)


def ends(described, folder):
    with simulated(described, folder) as simulation:
        simulation.run()
        return [(s.first_token_ps, s.end_ps) for s in simulation.recorder.done]


def products(simulation, component, tokens):
    """What that component takes for a layer's matrices, by name, in ps."""
    works = [work for work in simulation.units[0].plan.works if work.component == f"n0.{component}"]
    mine = {work.template.layer: work for work in works if work.template.layer in MATRICES}
    return {layer: simulation.ports.alone_ps(work, (tokens,)) for layer, work in mine.items()}


def rounds(n):
    """How much more than its share the fullest of 80 channels' 16 rows of banks reads, and its channel holds."""
    return ceil(ceil(n / 80) / 16) * 16 / (n / 80)


def closed_form(n, k):
    reading, opening, pins = by_timing("hbm3-pim", n, k, devices=5)
    return (reading + opening) * rounds(n) + pins + 1_000_000  # and 1 us an operation


@pytest.mark.parametrize("attention", ["accelerator", "pim"])
def test_one_decode_at_a_time_is_quicker_by_what_the_timing_says(attention, tmp_path):
    alone, beside = (scenario(gemv=way, decode_attention=attention) for way in ("accelerator", "pim"))
    ((first, end),), ((same, sooner),) = ends(alone, tmp_path), ends(beside, tmp_path)
    assert first == same  # a prompt of 100 tokens stays where it was
    with simulated(beside, tmp_path) as simulation:
        here, there = (products(simulation, who, 1) for who in ("accelerators", "pim"))
    assert here.keys() == there.keys() == MATRICES.keys()
    for layer, shape in MATRICES.items():
        assert there[layer] == pytest.approx(closed_form(*shape), rel=0.02), layer
    steps = 19  # of 20 tokens the prompt's step gives the first
    assert (end - sooner) == pytest.approx(
        steps * LAYERS * (sum(here.values()) - sum(closed_form(*shape) for shape in MATRICES.values())), rel=0.02
    )
    assert 2 * (sooner - same) < end - first


def test_a_rank_of_two_does_half(tmp_path):
    with simulated(scenario(tp=2), tmp_path) as simulation:
        found = products(simulation, "pim", 1)
    for layer, (n, k) in {"qkv_proj": (3072, 4096), "down_proj": (4096, 7168)}.items():
        assert found[layer] == pytest.approx(closed_form(n, k), rel=0.02), layer


def test_with_many_decodes_it_is_the_run_without(tmp_path):
    """A prompt, 63 prompts and a decode, then 63 or 64 decodes; in memory each would read the matrices anew."""
    engine = {"async_scheduling": False, "max_num_batched_tokens": 8192}
    with_it, without = (ends(scenario(64, gemv=way, engine=engine), tmp_path) for way in ("pim", "accelerator"))
    assert with_it == without and len(without) == 64
    with simulated(scenario(64, engine=engine), tmp_path) as simulation:
        simulation.run()
        assert simulation.ports.usage("n0.pim").calls == 0


def test_from_how_many_decodes_on_the_accelerator_is_quicker(tmp_path):
    """The step of n decodes grows by a reading of all matrices each, up to where it is the accelerator's."""
    with simulated(scenario(), tmp_path) as simulation:
        memory = [sum(products(simulation, "pim", n).values()) for n in range(1, 33)]
        accelerator = [sum(products(simulation, "accelerators", n).values()) for n in range(1, 33)]
        steps = [price(simulation, n) for n in range(1, 33)]
    with simulated(scenario(gemv="accelerator"), tmp_path) as simulation:
        without = [price(simulation, n) for n in range(1, 33)]
    saved = [old - new for old, new in zip(without, steps, strict=True)]
    assert saved == [LAYERS * max(0, here - there) for here, there in zip(accelerator, memory, strict=True)]
    assert saved[0] > 0 and saved[-1] == 0


def price(simulation, n):
    """Ps of a step of n decodes."""
    unit, kernel, hooks = simulation.units[0], Kernel(), CouplingHooks(Instruments())
    executor = Executor(kernel, 0, unit.name, unit.plan, simulation.ports, lambda n: 0, hooks)
    executor.run(0, [Batch((), n, 100 * n, 100, 100)], lambda energy_pj: None)
    kernel.run()
    return kernel.now_ps


def test_the_copy_counts_against_the_room_for_k_and_v(tmp_path):
    blocks = []
    for way in ("accelerator", "pim"):
        with simulated(scenario(gemv=way, decode_attention="pim"), tmp_path) as simulation:
            blocks.append(simulation.units[0].blocks)
    block = 16 * 131_072
    assert blocks == [80 * GIB // block, (80 * GIB - COPY) // block]
    with simulated(scenario(), tmp_path) as simulation:
        beside = simulation.units[0].blocks
    with simulated(scenario(gemv="accelerator"), tmp_path) as simulation:
        assert simulation.units[0].blocks == beside  # K and V are on the accelerator


@pytest.mark.parametrize(("attention", "size"), [("accelerator", 2.5), ("pim", 2.6)])
def test_what_leaves_no_room_is_refused(attention, size, tmp_path):
    """13.0 GiB of matrices in five stacks."""
    described = scenario(decode_attention=attention)
    described["cluster"]["nodes"][0]["memory"]["pim"]["size_gib"] = size
    with pytest.raises(InputError, match=r"instances.0.gemv = 'pim': a copy of the layers' matrices takes 13.00 GiB"):
        simulated(described, tmp_path).close()


@pytest.mark.parametrize(
    ("change", "why_not"),
    [
        (lambda s: s["cluster"]["nodes"][0].pop("memory"), "gemv = 'pim': node n0 has no memory.pim"),
        (lambda s: s["instances"][0].update(gemv="yes"), "gemv.*'accelerator' or 'pim'"),
        (
            lambda s: (
                s["cluster"]["nodes"][0]["memory"].update(dram={"bandwidth_gb_s": 300, "latency_ns": 90}),
                s["cluster"]["networks"].append(
                    {"name": "pcie", "connects": ["n0.accelerators", "n0.dram"], "bandwidth_gb_s": 50, "latency_ns": 1}
                ),
                s["instances"][0].update(weight_offloading={"memory": "dram", "gib": 4}),
            ),
            "gemv.*goes without weights off the devices",
        ),
        (
            lambda s: s.update(
                components={"n0.pim": {"model": "aim", "program": "/bin/true", "config": str(ROOT / "README.md")}}
            ),
            "gemm = 'qkv_proj': aim cannot do it: it does attention",
        ),
        (lambda s: s["instances"][0].update(quantization="fp8"), "qkv_proj.*no figures for weights of another type"),
    ],
    ids=["no devices", "another word", "weights off the devices", "a model of attention", "quantised weights"],
)
def test_what_cannot_be_is_refused(change, why_not, tmp_path):
    described = scenario()
    change(described)
    with pytest.raises(InputError, match=why_not):
        simulated(described, tmp_path).close()


def test_why_trace_and_energy_have_it_as_the_devices_work():
    """A request alone: its decodes' matrices are multiplied in memory, and nothing is left over."""
    changes = {"workload.num_requests": 3, "workload.request_rate": 0.1, "workload.output_tokens.mean": 20}
    described = load("pim-attention", {**changes, "instances.0.gemv": "pim"})
    with DebugSession.live(described, Inputs(ROOT / "scenarios"), LiveSource()) as session:
        session.run()
        spent = session.simulation.ports.spent.of
        for answer in why_all(session):
            assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps
            assert answer.after["compute", "n0.pim"] > answer.after["compute", "n0.accelerators"]
            layers = {part.layer for step in answer.steps for part in step.path() if part.component == "n0.pim"}
            assert any("qkv_proj" in layer or "gate_up_proj" in layer for layer in layers), layers
        joules = sum(answer.energy_j["n0.pim"] for answer in why_all(session))
        booked = sum(sum(entries.energy_pj) for (name, _), entries in spent.items() if name == "n0.pim")
        assert joules == pytest.approx(booked / PJ_PER_J, rel=1e-9) and joules > 0
        assert why(session, 0).energy_j["n0.pim"] > 0


def test_a_stop_at_a_product_in_memory_is_where_it_was_done():
    changes = {"workload.num_requests": 1, "workload.output_tokens.mean": 20}
    described = load("pim-attention", {**changes, "instances.0.gemv": "pim"})
    with DebugSession.live(described, Inputs(ROOT / "scenarios"), LiveSource()) as session:
        found = set()
        while session.event is not None:
            found |= {part for part in session.inside.parts() if part[2] == "qkv_proj"}
            session.step()
    assert found == {("n0.accelerators", "gemm", "qkv_proj"), ("n0.pim", "gemm", "qkv_proj")}


def test_the_account_is_whole():
    """All that a run draws is what its parts draw, the PIM devices' products among them."""
    changes = {"workload.num_requests": 3, "workload.request_rate": 0.5, "cluster.nodes.n0.power": {"base_w": 300}}
    way, without = (run("pim-attention", overrides={**changes, "instances.0.gemv": w}) for w in ("pim", "accelerator"))
    for result in (way, without):
        adds_up(result)
    spent, before = (result["metronome"]["energy_by_part_j"]["n0"] for result in (way, without))
    assert spent["pim"] > before["pim"] and spent["accelerators"] < before["accelerators"]


FEW = {"workload.num_requests": 4, "workload.request_rate": 1.0, "workload.output_tokens.mean": 20}
ONE = {"instances.0.tensor_parallel_size": 1}
EXPERTS = {"instances.0.model": "mistralai/Mixtral-8x7B-v0.1", "instances.0.enable_expert_parallel": True}


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {**ONE, "instances.0.pipeline_parallel_size": 2},
        {**ONE, "instances.0.data_parallel_size": 2},
        {**ONE, "instances.0.data_parallel_size": 2, **EXPERTS},
    ],
    ids=["tensor", "pipeline", "data", "experts"],
)
def test_few_requests_are_quicker_in_every_layout_of_ranks(layout):
    tpot = [
        run("pim-attention", overrides={**FEW, **layout, "instances.0.gemv": way})["mean_tpot_ms"]
        for way in ("pim", "accelerator")
    ]
    assert tpot[0] < tpot[1]


def test_components_elsewhere_give_the_same_bytes():
    """The other way is asked about in a message of its own."""
    elsewhere = {"components": {"n0.pim": {"run": "process"}, "n0.accelerators": {"run": "process"}}}
    here, there = (
        run("pim-attention", overrides={**FEW, "instances.0.gemv": "pim", **more}) for more in ({}, elsewhere)
    )
    same = ("duration", "mean_ttft_ms", "mean_tpot_ms", "p99_itl_ms", "output_throughput")
    assert [here[key] for key in same] == [there[key] for key in same]
    assert here["metronome"]["energy_j"] == there["metronome"]["energy_j"]
