"""Whether a model can be cut for tensor parallelism."""

from __future__ import annotations

from .architecture import Architecture
from .models.names import GATES, QUERIES


def uncut(arch: Architecture, tp: int, experts: bool, images: bool) -> str | None:
    """Why it cannot be cut for ``tp`` ranks, ``experts`` and the encoder of ``images`` with it; None if it can."""
    sliced = [("attention heads", heads) for heads in arch.heads]
    sliced += [("intermediate size", width) for width in arch.widths]
    if arch.routed and experts:
        sliced.append(("intermediate size", arch.routed.width))
    for what, size in sliced:
        if size % tp:
            return f"must divide the model's {what} ({size})"
    for kv_heads in arch.kv_heads:
        if kv_heads % tp and tp % kv_heads:
            return f"must divide, or be divided by, the KV heads ({kv_heads})"
    refused = _blocks(arch, tp, experts) or _groups(arch, tp)
    if refused is None and arch.tower and images and arch.tower.heads % tp:
        return f"must divide the heads of the encoder of images ({arch.tower.heads})"
    return refused


def _blocks(arch: Architecture, tp: int, experts: bool) -> str | None:
    """Each rank's part of a matrix is whole scaling blocks, as vLLM asks of checkpoints quantised by block.

    Not of q, k and v, and of gate and up, whose outputs it has in one matrix and lets end within a block
    (``_maybe_allow_fp8_block_shape_mismatch`` of vllm/model_executor/layers/linear.py, 0.19).
    """
    for block in dict.fromkeys(arch.blocks):
        routed = block.experts.linears if block.experts and experts else ()
        names = {linear.path.rpartition(".")[2] for linear in block.linears}
        merged = {*QUERIES, *GATES} - (set() if {"q_proj", "k_proj"} <= names else {"q_proj"})
        apart = [linear for linear in block.linears if linear.path.rpartition(".")[2] not in merged]
        for linear in (*apart, *routed):
            rows, columns = linear.format.rows, linear.format.columns
            out, into = linear.shape(tp)
            cut = (out, rows) if linear.cut == "out" else (into, columns)
            if linear.cut and rows > 1 and linear.shape(1) != (out, into) and cut[0] % cut[1]:
                return f"leaves {cut[0]} of {linear.path}, not whole blocks of {cut[1]} of the quantised weights"
    return None


def _groups(arch: Architecture, tp: int) -> str | None:
    """Each rank's inputs are whole groups that share a scale, of AWQ, GPTQ, compressed-tensors and NVFP4 (``awq.py``,
    ``gptq.py``, ``compressed_tensors_wNa16.py``, ``modelopt.py`` of vLLM 0.19: create_weights)."""
    if arch.quantization in ("bitsandbytes", "mxfp4"):  # whose groups run over the numbers, or are filled up
        return None
    for linear in dict.fromkeys(linear for block in dict.fromkeys(arch.blocks) for linear in block.linears):
        one, into = linear.format, linear.shape(tp)[1]
        if one.name in ("int4", "int8", "fp4") and one.rows == 1 and one.columns > 1 and into % one.columns:
            return f"leaves {into} inputs of {linear.path}, not whole groups of {one.columns} with a scale"
    return None
