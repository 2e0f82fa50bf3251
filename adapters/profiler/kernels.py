"""What is run for an operation: PyTorch's own kernels, on random numbers.

Not those of an engine: vLLM fuses the residual into norms, does prompt and decodes in one attention kernel and experts
in one fused kernel. Of attention a prompt and decodes are measured apart, of experts the products of all active ones as
two batched ones. An element-wise operation is a product that moves as many elements as the template says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from metronome.hwmodels.interface import ConfigError

from .points import Point

EMBEDDINGS = 32_768  # rows to look up in: more than a cache holds


def load_torch() -> Any:
    """PyTorch. Raises ConfigError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise ConfigError("profile", "torch", "is not installed: pip install 'metronome-cosim[profile]'") from None
    return torch


class Kernels:
    """On one device; tensors of one point live until the next is asked for."""

    def __init__(self, torch: Any, device: str) -> None:
        self._torch, self._device = torch, device
        self._dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

    def of(self, point: Point) -> Callable[[], object]:
        """What to time. Raises RuntimeError where the device's memory does not hold it."""
        at, values = point.template.attributes, point.values
        dtype = self._dtypes[str(at["dtype"])]
        made: Callable[[], object] = getattr(self, f"_{point.part or point.template.kind}")(at, dtype, *values)
        return made

    def _random(self, dtype: Any, *shape: int) -> Any:
        return self._torch.randn(shape, device=self._device, dtype=self._torch.float32).to(dtype)

    def _gemm(self, at: Any, dtype: Any, m: int) -> Callable[[], object]:
        x, w = self._random(dtype, m, int(at["k"])), self._random(dtype, int(at["n"]), int(at["k"]))
        return lambda: self._torch.nn.functional.linear(x, w)

    def _norm(self, at: Any, dtype: Any, tokens: int) -> Callable[[], object]:
        width = max(1, int(at["width"]) // 2)  # read and written
        x, w = self._random(dtype, tokens, width), self._random(dtype, width)
        return lambda: self._torch.nn.functional.rms_norm(x, (width,), w)

    def _elementwise(self, at: Any, dtype: Any, tokens: int) -> Callable[[], object]:
        a, b, c = (self._random(dtype, tokens, max(1, int(at["width"]) // 3)) for _ in range(3))
        return lambda: self._torch.mul(a, b, out=c)

    def _embedding(self, at: Any, dtype: Any, tokens: int) -> Callable[[], object]:
        table = self._random(dtype, EMBEDDINGS, int(at["width"]))
        ids = self._torch.randint(0, EMBEDDINGS, (tokens,), device=self._device)
        return lambda: self._torch.nn.functional.embedding(ids, table)

    def _sampler(self, at: Any, dtype: Any, sequences: int) -> Callable[[], object]:
        logits = self._random(self._torch.float32, sequences, int(at["width"]))
        return lambda: self._torch.argmax(logits, dim=-1)

    def _heads(self, at: Any) -> tuple[int, int, int]:
        return int(at["heads"]), int(at["kv_heads"]), int(at["head_size"])

    def _prompt(self, at: Any, dtype: Any, chunk: int, cached: int) -> Callable[[], object]:
        heads, kv_heads, size = self._heads(at)
        q = self._random(dtype, 1, heads, chunk, size)
        k, v = (self._random(dtype, 1, kv_heads, cached + chunk, size) for _ in range(2))
        from torch.nn.attention.bias import causal_lower_right

        mask = causal_lower_right(chunk, cached + chunk)
        attend = self._torch.nn.functional.scaled_dot_product_attention
        if heads != kv_heads and self._device == "cpu":  # its mask does not know groups of heads
            k, v = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (k, v))
        return lambda: attend(q, k, v, attn_mask=mask, enable_gqa=k.shape[1] != heads)

    def _decode(self, at: Any, dtype: Any, decodes: int, context: int) -> Callable[[], object]:
        heads, kv_heads, size = self._heads(at)
        q = self._random(dtype, decodes, heads, 1, size)
        k, v = (self._random(dtype, decodes, kv_heads, context + 1, size) for _ in range(2))
        attend = self._torch.nn.functional.scaled_dot_product_attention
        return lambda: attend(q, k, v, enable_gqa=kv_heads != heads)

    def _moe(self, at: Any, dtype: Any, tokens: int, active: int) -> Callable[[], object]:
        hidden = int(at["hidden"])
        whole = int(at["intermediate"]) * (int(at.get("tp", 1)) if at.get("expert_ranks", 1) == 1 else 1)
        each = math.ceil(tokens * int(at["top_k"]) / active)
        x = self._random(dtype, active, each, hidden)
        up, down = self._random(dtype, active, hidden, 2 * whole), self._random(dtype, active, whole, hidden)

        def run() -> object:
            gate, value = self._torch.bmm(x, up).chunk(2, dim=-1)
            return self._torch.bmm(self._torch.nn.functional.silu(gate) * value, down)

        return run
