import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels import catalog
from metronome.hwmodels.accelerator.counting import work
from metronome.hwmodels.accelerator.draw import Draw
from metronome.hwmodels.accelerator.roofline import OWN, Roofline
from metronome.hwmodels.interface import ConfigError, Operation, Template

GEMM = Template(0, "gemm", "x", {"n": 4096, "k": 4096, "dtype": "bf16"})
ATTENTION = Template(
    1, "attention", "a", {"heads": 8, "kv_heads": 2, "head_size": 64, "dtype": "bf16", "kv_dtype": "bf16"}
)


def test_large_gemms_are_bound_by_arithmetic_small_ones_by_memory():
    device = catalog.device("h100-sxm")
    model = Roofline({"device": "h100-sxm", "launch_overhead_ns": 0})
    model.declare([GEMM])
    large = model.estimate(GEMM, (8192,)).duration_ps / 1e12
    assert large == pytest.approx(2 * 8192 * 4096**2 / (device.flops["bf16"] * device.compute_efficiency), rel=1e-6)
    small = model.estimate(GEMM, (1,)).duration_ps / 1e12
    moved = (4096 + 4096**2 + 4096) * 2
    assert small == pytest.approx(moved / (device.memory_bandwidth * device.memory_efficiency), rel=1e-6)


def test_attention_counts_every_query_key_pair_once():
    # One prompt of 3 new tokens on 5 cached: 6 + 7 + 8 pairs; a decode on 10: 11 pairs.
    flops, moved = work(ATTENTION, (1, 10, 10, 10, 3, 5))
    assert flops == 4 * (21 + 11) * 8 * 64
    assert moved == 2 * 4 * 8 * 64 * 2 + 2 * (8 + 11) * 2 * 64 * 2


def test_a_prompt_in_chunks_costs_the_flops_of_the_whole():
    whole, _ = work(ATTENTION, (0, 0, 0, 0, 100, 0))
    parts = sum(work(ATTENTION, (0, 0, 0, 0, 20, done))[0] for done in range(0, 100, 20))
    assert parts == whole


def drawn(watts, values):
    """(pJ, ps) of a product on a device that draws so much."""
    facts = {"tflops": {"bf16": 100}, "memory_bandwidth_gb_s": 1000, "memory_gib": 80, "launch_overhead_ns": 1000}
    model = Roofline({"device": facts | watts})
    model.declare([GEMM])
    estimate = model.estimate(GEMM, values)
    return estimate.energy_pj, estimate.duration_ps


def test_a_device_without_figures_draws_its_limit_above_standby_while_it_computes():
    energy, duration = drawn({"idle_w": 20, "standby_w": 50, "active_w": 300}, (100,))
    assert energy == pytest.approx((duration - 10**6) * 250)


def test_energy_follows_bytes_and_flops():
    watts = {"idle_w": 20, "busy_w": 100, "active_w": 300}
    energy, duration = drawn(watts | {"pj_per_byte": 40, "pj_per_flop": 0.5}, (100,))
    plain, _ = drawn(watts, (100,))
    assert plain == pytest.approx((duration - 10**6) * 80)
    flops, moved = work(GEMM, (100,))
    assert energy - plain == pytest.approx(40 * moved + 0.5 * flops, abs=1)


def test_a_product_in_half_the_bits_takes_half_the_energy_of_its_flops():
    draw = Draw(0, 0, 1)
    assert draw.pj(0, 1000, 0, "fp8") == draw.pj(0, 1000, 0, "bf16") / 2 == 500


def test_choosing_experts_in_many_kernels_launches_each():
    shape = {"hidden": 64, "intermediate": 32, "experts": 8, "top_k": 2, "dtype": "bf16"}
    one, many = (Template(n, "moe", "moe", {**shape, **more}) for n, more in enumerate(({}, {"routing_kernels": 21})))
    model = Roofline({"device": "h100-sxm", "launch_overhead_ns": 1000})
    model.declare([one, many])
    assert model.estimate(many, (4, 6)).duration_ps == model.estimate(one, (4, 6)).duration_ps + 20 * 10**6


def test_an_unknown_device_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="a100-80g-sxm, .*, tpu-v6e"):
        Roofline({"device": "h900"})


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100-80g-sxm"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA B300 SXM6 AC", "b300"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA RTX A6000", "rtx-a6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000"),
        ("Tesla T4", "t4"),
        ("Tesla V100", "v100-32g-sxm"),
        ("Tesla V100-SXM2-32GB", "v100-32g-sxm"),
        ("Tesla V100-SXM2-16GB", None),
        ("Tesla V100-PCIE-32GB", None),
        ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA A100-PCIE-40GB", None),
        ("NVIDIA A100 80GB PCIe", None),
        ("a100-40g", None),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", None),
    ],
)
def test_devices_are_known_by_the_names_that_nvidia_smi_prints_and_no_other_is_taken_for_one(printed, name):
    assert catalog.canonical(printed) == name


@pytest.mark.parametrize("name", catalog.device_names())
def test_every_device_of_the_catalog_is_whole_and_names_its_sources(name):
    device = catalog.device(name)
    assert {"tflops", "memory", "efficiency", "power"} <= set(device.sources)
    assert all(device.sources.values())
    assert 0 < device.compute_efficiency <= 1 and 0 < device.memory_efficiency <= 1
    assert device.idle_w < device.active_w


SHAPES = [
    {"heads": 32, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"},
    {"heads": 8, "kv_heads": 1, "head_size": 128, "dtype": "bf16", "kv_dtype": "fp8"},
    {"heads": 32, "kv_heads": 32, "head_size": 64, "dtype": "fp16", "kv_dtype": "fp16", "sees": 128},
]


@given(st.integers(1, 1024), st.integers(0, 10**7), st.sampled_from(SHAPES), st.sampled_from(["h100-sxm", "rtx-a6000"]))
def test_decodes_alone_have_a_short_way_to_the_same_figures(decodes, context, shape, device):
    model = Roofline({"device": device})
    template = Template(0, "attention", "attention", shape)
    values = (decodes, context, context, 0)
    assert model.estimate(template, values) == model._estimate(template, values, OWN)


NOTHING = {
    "gemm": ({"n": 4096, "k": 4096, "dtype": "bf16"}, (0,)),
    "moe": ({"hidden": 4096, "intermediate": 2048, "experts": 8, "top_k": 2, "dtype": "bf16"}, (0, 0)),
    "attention": (
        {"heads": 8, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"},
        (0, 0, 0, 0, 0, 5),
    ),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_kernels_with_nothing_to_do_are_not_started(kind):
    """No run asks for them; the contract allows whoever else asks to."""
    attributes, values = NOTHING[kind]
    model = Roofline({"device": "h100-sxm"})
    model.declare([Template(0, kind, "x", attributes)])
    (done,) = model.advance(0, [Operation(0, values, 0)]).completions
    assert done.finish_ps - done.start_ps == 1
