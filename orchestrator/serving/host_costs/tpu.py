"""vLLM on TPUs: in place of CUDA graphs every step is a compiled program, of the next numbers of tokens and sequences
that there is one for. All are compiled before the first request. As github.com/vllm-project/tpu-inference does it
(`runner/utils.py`: get_token_paddings, get_req_paddings; `runner/tpu_runner.py`: _init_inputs), and vLLM's own
`v1/worker/tpu_model_runner.py` before. Attention goes over the sequences there are: its kernel is of ragged pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from . import HostCosts

LEAST_TOKENS, LEAST_SEQUENCES = 16, 8

#: What is taken of an engine's own figures though nobody measured it with TPUs.
UNKNOWN = ("step_gap_us", "host_step_us", "host_sequence_us", "prompt_step_us")
#: Flags of what there is not.
NO_EFFECT = ("cudagraph_capture_sizes", "max_cudagraph_capture_size", "cold_start")


def on_tpus(costs: HostCosts, max_num_batched_tokens: int, max_num_seqs: int) -> HostCosts:
    """The same on TPUs.

    A step with prompts is one program like any other: of what it takes on a GPU the host's own part is left, where that
    was measured. No first step waits for kernels.
    """
    prompt = costs.prompt_step_ps if costs.prompt_alone_ps is None else costs.prompt_alone_ps
    return replace(
        costs.warm(),
        graph_sizes=token_sizes(max_num_batched_tokens),
        sequence_sizes=sequence_sizes(max_num_seqs),
        pads_in_graphs_only=False,
        prompt_step_ps=prompt,
    )


def token_sizes(most: int) -> tuple[int, ...]:
    """Doubled from 16 until ``most`` is in (VLLM_TPU_BUCKET_PADDING_GAP is 0)."""
    sizes = [LEAST_TOKENS]
    while sizes[-1] < most:
        sizes.append(2 * sizes[-1])
    return tuple(sizes)


def sequence_sizes(most: int) -> tuple[int, ...]:
    """Doubled from 8, and ``most``."""
    most = max(most, LEAST_SEQUENCES)
    sizes = [LEAST_SEQUENCES]
    while sizes[-1] < most:
        sizes.append(min(2 * sizes[-1], most))
    return tuple(sizes)


def said(name: str, version: str, device: str, given: Iterable[str]) -> Iterator[str]:
    """What the user should know of the engine ``name`` on such TPUs; ``given``: its flags that the scenario states."""
    if version.startswith("sglang"):
        yield f"{name}: {version}'s graphs and host work are those with GPUs; on TPUs (sglang-jax) they are others"
    if not version.startswith("vllm"):
        return
    figures = ", ".join(UNKNOWN)
    yield f"{name}: what {version}'s host takes on {device} is not known; {figures} are those with GPUs"
    for flag in NO_EFFECT:
        if flag in given:
            yield f"{name}: engine.{flag} has no effect on {device}: every step is compiled before the first request"
