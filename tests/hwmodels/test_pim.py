"""Decode attention in memory: by hand, and as part of a plan."""

from __future__ import annotations

import pytest
from metronome.hwmodels.interface import MAX_PS, Operation, Template
from metronome.hwmodels.pim.bank_gemv import BankGemv
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation

SHAPE = {"heads": 32, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"}


def took(values, **config):
    model = BankGemv({"devices": 16, **config})
    model.declare([Template(0, "attention", "attention", SHAPE)])
    (done,) = model.advance(MAX_PS, [Operation(0, values, 0)]).completions
    return done.finish_ps - done.start_ps


def test_by_hand():
    """32 decodes of 1000 tokens: 4096 B of K and V a token, 4 x 32 x 128 FLOPs; four queries share a K and V."""
    pins = (32 * 2 * 32 * 128 * 2 + 32 * 4096) / (64e9 * 16)
    reading, computing = 32 * 1001 * 4096 / (1000e9 * 16), 4 * 32 * 1001 * 32 * 128 / (1e12 * 16)
    assert computing > reading
    assert took((32, 32_000, 1000, 1000)) == round((pins + computing + 1e-6) * 1e12)
    assert took((32, 32_000, 1000, 1000), tflops=100) == round((pins + reading + 1e-6) * 1e12)


def test_prompts_only_send_their_k_and_v():
    assert took((0, 0, 0, 0, 500, 100)) == round((500 * 4096 / (64e9 * 16) + 1e-6) * 1e12)


def test_twice_the_devices_take_half_the_time():
    one, two = (took((64, 64_000, 1000, 1000), devices=n, latency_ns=0) for n in (8, 16))
    assert one == pytest.approx(2 * two, rel=1e-6)


@pytest.fixture
def with_pim(small):
    small["cluster"]["nodes"][0]["memory"]["pim"] = {"devices_per_accelerator": 16, "size_gib": 1}
    small["instances"] = small["instances"][:1]
    small["instances"][0]["decode_attention"] = "pim"
    del small["instances"][0]["engine"]["num_gpu_blocks_override"]
    return small


def test_k_and_v_are_in_its_memory(with_pim, tmp_path):
    with Simulation(validate(with_pim, "test"), tmp_path) as simulation:
        # 16 GiB beside each of two accelerators that share the heads; 64 KiB a token on each, 16 tokens a block.
        assert simulation.units[0].blocks == 16 * 2**30 // (2**16 * 16)


def test_the_accelerator_is_left_with_the_prompts(with_pim, tmp_path):
    with Simulation(validate(with_pim, "test"), tmp_path) as simulation:
        simulation.run()
        steps = simulation.recorder.steps
        assert simulation.ports.usage("n0.pim").calls == steps
        prompts = sum(1 for log in simulation.recorder.logs for tokens in log.prompt_tokens if tokens)
        # Every step has as many kinds of operation on the accelerator, attention in those with prompts alone.
        calls = simulation.ports.usage("n0.accelerators").calls
        assert (calls - prompts) % steps == 0 and prompts < steps


def test_folded_and_unfolded_agree(with_pim, tmp_path):
    ends = []
    for fold in (True, False):
        with Simulation(validate(with_pim, "test"), tmp_path, fold=fold) as simulation:
            simulation.run()
            ends.append([s.end_ps for s in simulation.recorder.done])
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s["cluster"]["nodes"][0]["memory"].pop("pim"), "node n0 has no memory.pim"),
        (
            lambda s: s["instances"].__setitem__(
                slice(None),
                [
                    {**s["instances"][0], "role": "prefill", "accelerators": "n0[0:2]"},
                    {**s["instances"][0], "name": "b", "role": "decode", "accelerators": "n0[2:4]"},
                ],
            ),
            "goes with role both",
        ),
        (lambda s: s["cluster"]["nodes"][0]["memory"]["pim"].update(size_gib=0.00001), "does not fit"),
        (
            lambda s: s["cluster"]["nodes"][0]["memory"]["pim"].update(devices_per_accelerator=0),
            "greater than or equal to 1",
        ),
    ],
)
def test_what_cannot_be_is_refused(with_pim, tmp_path, change, why):
    change(with_pim)
    with pytest.raises(InputError, match=why), Simulation(validate(with_pim, "test"), tmp_path):
        pass
