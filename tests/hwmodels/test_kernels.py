"""Kernels of GPUs by family: the mechanisms, on the figures of the catalog."""

from __future__ import annotations

import pytest
from metronome.hwmodels import catalog
from metronome.hwmodels.accelerator.kernels import attention, experts, gemm
from metronome.hwmodels.accelerator.kernels.processor import Processor
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.interface import Template, Use
from pydantic import ValidationError

FA2, FA3 = catalog.kernels("blackwell-rtx").decode_attention, catalog.kernels("hopper").decode_attention


def processor(name):
    device = catalog.device(name)
    return Processor.of(device.chip, device.flops, device.memory_bandwidth)


H100, RTX, A100 = map(processor, ("h100-sxm", "rtx-pro-6000", "a100-80g-sxm"))


def decode(on, by, shape, *rest):
    return attention.Decodes(on, by, shape).seconds(*rest)


def test_a_product_of_few_rows_takes_its_weights_bytes_and_a_start():
    by, m, n, k = catalog.kernels("hopper").gemm, 1, 8192, 8192
    spent = gemm.seconds(H100, by, m, n, k)
    least = n * k * 2 / (H100.bandwidth * by.memory_efficiency) + by.start_cycles / H100.clock
    assert least <= spent < 1.2 * least


def test_one_tile_more_than_the_multiprocessors_hold_is_another_turn():
    by, rows, columns = catalog.kernels("hopper").gemm, 128, 256
    full = gemm.seconds(H100, by, rows * 12, columns * 11, 8192)  # 132 tiles, a multiprocessor each
    more = gemm.seconds(H100, by, rows * 12, columns * 12, 8192)
    assert more / full > 1.15  # 9 % more work


def test_the_inner_dimension_is_split_where_outputs_are_few():
    by = catalog.kernels("hopper").gemm
    dear = by.model_copy(update={"split_cycles": 10**9})
    assert gemm.seconds(H100, by, 64, 256, 65536) < 0.3 * gemm.seconds(H100, dear, 64, 256, 65536)


def test_decodes_run_in_turns_of_their_blocks():
    shape = attention.Shape(8, 1, 128, 128)
    took = {n: decode(RTX, FA2, shape, n, 16, 0.0) for n in (188, 189, 376, 377)}  # one block a sequence
    assert took[188] < took[189] == took[376] < took[377]
    assert took[377] - took[376] == pytest.approx(took[189] - took[188])


def test_keys_are_split_over_idle_multiprocessors_and_the_parts_cost_a_kernel():
    shared, alone = attention.Shape(8, 1, 128, 128), attention.Shape(1, 1, 128, 128)
    short, long = (decode(RTX, FA2, shared, 1, context, 0.0) for context in (128, 129))
    assert long - short > FA2.extra_cycles / RTX.clock
    # FlashAttention 2 does not split the keys of a head of its own.
    assert decode(RTX, FA2, alone, 1, 65536, 0.0) > 10 * decode(RTX, FA2, shared, 1, 65536, 0.0)


def test_flash_attention_2_copies_queries_that_share_keys_and_3_does_not():
    shape = attention.Shape(32, 8, 128, 128)
    none = attention.Shape(8, 8, 128, 128)
    two, three = (
        decode(on, by, shape, 4, 64, 0.0) - decode(on, by, none, 4, 64, 0.0) for on, by in ((RTX, FA2), (H100, FA3))
    )
    assert two > FA2.extra_cycles / RTX.clock and abs(three) < 0.1e-6


def test_a_prompt_ends_no_earlier_than_its_longest_block():
    by, shape = catalog.kernels("ampere").prefill_attention, attention.Shape(1, 1, 128, 128)
    one, two = (attention.prefill(A100, by, shape, [(64, 64 * keys, keys)], 0.0, 0.0) for keys in (8192, 16384))
    start = by.start_ns * 1e-9 + by.block_cycles / A100.clock
    assert two - start == pytest.approx(2 * (one - start), rel=0.01)


def test_without_tuned_tiles_more_tokens_than_experts_have_larger_ones():
    by, expert = catalog.kernels("ampere").experts, experts.Expert(4096, 1536)
    few, many = (
        experts.seconds(A100, by, experts.Routed(tokens * 8, 120, 128, tokens, tokens * 8), expert)
        for tokens in (128, 129)
    )
    assert many > 1.1 * few
    quickest = by.model_copy(update={"tuned": None})
    to = experts.Routed(129 * 8, 120, 128, 129, 129 * 8)
    assert experts.seconds(A100, quickest, to, expert) < many


def test_experts_that_get_no_token_cost_nothing():
    by, expert = catalog.kernels("hopper").experts, experts.Expert(4096, 14336)
    all_of_them, two = (
        experts.seconds(H100, by, experts.Routed(16, active, 8, 8, 16), expert) - by.start_ns * 1e-9
        for active in (8, 2)
    )
    assert two == pytest.approx(all_of_them / 4, rel=0.1)


def test_a_device_without_measurements_says_guessed_and_has_the_wider_error():
    template = Template(0, "gemm", "x", {"n": 4096, "k": 4096, "dtype": "bf16"})
    said = {}
    for name in ("h100-sxm", "h200"):
        model = Roofline({"device": name})
        model.declare([template])
        said[name] = model.statistics([Use(0, (64,), 1)])
    assert said["h100-sxm"]["kernels"] == "as measured on h100-sxm"
    assert said["h200"]["kernels"] == "guessed: as measured on h100-sxm"
    errors = catalog.kernels("hopper").errors["gemm"]
    measured, guessed = (said[name]["relative_error"]["modelled"] for name in said)
    assert 0 < measured < guessed
    assert (measured, guessed) == (errors.long.measured, errors.long.guessed)


def test_shares_of_ones_own_leave_the_kernels_of_a_family_aside():
    template = Template(0, "gemm", "x", {"n": 4096, "k": 4096, "dtype": "bf16"})
    model = Roofline({"device": "h100-sxm", "launch_overhead_ns": 0})
    model.declare([template])
    assert model.statistics()["kernels"].startswith("plain shares of the peak")


def test_a_generation_without_kernels_is_refused_with_the_known_ones():
    facts = {"tflops": {"bf16": 1}, "memory_bandwidth_gb_s": 1, "memory_gib": 1}
    chip = {"generation": "blackwel-rtx", "multiprocessors": 1, "clock_ghz": 1, "l2_mib": 1, "shared_kib": 100}
    with pytest.raises(ValidationError, match="'blackwel-rtx' is none of ampere, blackwell-rtx, hopper"):
        catalog.DeviceFacts.model_validate({**facts, "chip": chip})
