"""What vLLM's profile run finds in use beside the weights, at its peak; K and V get the rest.

At its start a worker computes a batch of `max_num_batched_tokens` tokens, samples for `max_num_seqs` requests with
top-k and top-p, and takes the peak of torch's allocator and what else of the device is gone (`v1/worker/gpu_worker.py`,
determine_available_memory; `v1/worker/gpu_model_runner.py`, profile_run; 0.19). CUDA graphs come later and are not
counted (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS is off in 0.19). What is held to logs: docs/engines.md.
"""

from __future__ import annotations

from dataclasses import dataclass

#: cuBLAS's workspace, of torch's allocator: 32 MiB on Hopper and later, 8 MiB before
CUBLAS_BYTES = 2**25
FP32 = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """A device's share of a full batch.

    Attributes:
        tokens, sequences: `max_num_batched_tokens`, `max_num_seqs`.
        hidden, vocab: of the model, whole: every rank gathers all logits. No ``vocab`` where it does not sample.
        dtype_bytes: of an activation.
        layer: numbers of a token that are live at the widest moment of a layer, vectors of ``hidden`` apart.
        scratch: numbers of a token that the kernels of experts work in.
        unfolded: bytes of keys and values unfolded from latent vectors.
        images: bytes of an encoder's inputs and outputs, held until the run has ended.
    """

    tokens: int
    sequences: int
    hidden: int
    vocab: int
    dtype_bytes: float
    layer: int
    scratch: int = 0
    unfolded: int = 0
    images: int = 0


@dataclass(frozen=True, slots=True)
class ProfileRun:
    """What of it is another in another version of the engine.

    Attributes:
        outside_bytes: allocated by others than torch: code of kernels, communicators; on a device that is alone.
        outside_in_group_bytes: the same of one in a tensor-parallel group.
        keeps_scratch: what experts' kernels work in stays allocated while tokens are sampled (`worker/workspace.py`).
        sampler_rows: logits of so many sequences that the kernel of top-k and top-p keeps, one a multiprocessor (of
            an H100; `v1/sample/ops/topk_topp_triton.py`); 0 if it keeps none.
    """

    outside_bytes: int = 256 * 2**20
    outside_in_group_bytes: int = 2150 * 2**20
    keeps_scratch: bool = True
    sampler_rows: int = 132

    def working_bytes(self, of: Demand, ranks: int) -> int:
        """Bytes on one of ``ranks`` tensor-parallel devices.

        Four vectors of the hidden size live through a layer: what attention gave, the residual before it and after it,
        the output. The sampler has the logits in the model's type, in fp32, their softmax, and a random number each.
        """
        vector = of.hidden * of.dtype_bytes
        scratch = of.tokens * of.scratch * of.dtype_bytes
        layers = scratch + of.tokens * 4 * vector + max(of.tokens * of.layer * of.dtype_bytes, of.unfolded)
        sampler = 0.0
        if of.vocab:
            buffer = min(self.sampler_rows, of.sequences) * FP32
            sampler = of.vocab * (of.sequences * (of.dtype_bytes + 3 * FP32) + buffer)
            sampler += (of.tokens + 2 * of.sequences) * vector + (scratch if self.keeps_scratch else 0)
        outside = self.outside_in_group_bytes if ranks > 1 else self.outside_bytes
        return int(max(layers, sampler)) + of.images + CUBLAS_BYTES + outside
