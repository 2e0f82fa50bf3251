"""What an engine takes where the scenario leaves flags open, by version and device."""

from __future__ import annotations

import pytest
from metronome.orchestrator.serving.spec import DeviceFacts
from metronome.orchestrator.serving.vllm.defaults import resolve
from metronome.orchestrator.serving.vllm.options import VllmOptions

GIB = 2**30


@pytest.mark.parametrize(
    ("device", "gib", "given", "tokens", "sequences"),
    [
        ("h100-sxm", 80, {}, 8192, 1024),
        ("mi300x", 192, {}, 8192, 1024),
        ("a100-80g-sxm", 80, {}, 2048, 256),
        ("rtx-4090", 24, {}, 2048, 256),
        ("tpu-v6e", 32, {}, 1024, 256),
        ("tpu-v5p", 95, {}, 256, 256),
        ("h100-sxm", 80, {"max_num_seqs": 3}, 8192, 3),
        ("h100-sxm", 80, {"max_num_batched_tokens": 512}, 512, 512),
        ("rtx-4090", 24, {"enable_chunked_prefill": False}, 40_960, 256),
    ],
)
def test_defaults_are_those_of_vllm_serve(device, gib, given, tokens, sequences):
    flags = resolve(VllmOptions(**given), DeviceFacts(device, gib * GIB, 40_960))
    assert (flags.max_num_batched_tokens, flags.max_num_seqs) == (tokens, sequences)


def test_a_budget_by_default_is_no_larger_than_all_requests_together():
    flags = resolve(VllmOptions(max_num_seqs=2), DeviceFacts("h100-sxm", 80 * GIB, 1000))
    assert flags.max_num_batched_tokens == 2000


def test_validate_says_what_is_in_force_and_where_it_comes_from(cli):
    said = cli("validate", "quickstart", "--set", "instances.0.engine={block_size: 32, max_model_len: 8192}").output
    assert "given: block_size 32, max_model_len 8192" in said
    assert "by version and device: max_num_seqs 1024, max_num_batched_tokens 8192" in said


@pytest.mark.parametrize("case", ["56_a100-80g-sxm_default-engine-defaults", "56_rtx-4090_default-engine-defaults"])
def test_the_cases_of_the_field_get_their_defaults(case, shared, cli):
    said = cli("validate", shared.parent / "cases" / case / "scenario.yaml").output
    assert "by version and device: max_num_seqs 256, max_num_batched_tokens 2048" in said
