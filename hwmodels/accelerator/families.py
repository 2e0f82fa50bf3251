"""Which family's kernel does an operation, and what of it is handed over: shapes, bytes, types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..catalog.families import Kernels
from ..interface import DTYPE_BYTES, Attribute, Template
from .choosing import masking_bytes, masking_s
from .counting import DecodeLine, pairs_seen, work
from .kernels import attention, experts, gemm
from .kernels.processor import Processor

#: What is off of kernels without a table of their own: a guess, to one digit.
UNMEASURED = 0.3


@dataclass(frozen=True, slots=True)
class ByFamily:
    """A GPU and the kernels of its generation."""

    on: Processor
    kernels: Kernels
    decodes: dict[int, DecodeSeconds] = field(default_factory=dict, compare=False, repr=False)  # by template

    def seconds(self, template: Template, values: tuple[int, ...], dtype: str) -> float:
        """Time of an operation whose products are computed in ``dtype``; of one with nothing to do, none."""
        if template.kind in ("gemm", "moe") and not any(values):
            return 0.0
        if template.kind == "gemm":
            return self._gemm(template, values[0], dtype)
        if template.kind == "moe":
            return self._experts(template, values, dtype)
        if template.kind == "attention":
            return self._attention(template, values, dtype)
        flops, moved = work(template, values)
        rest = moved - masking_bytes(template, values)
        masked_s = masking_s(template, values, self.on, self.kernels.small)
        return self._small(max(flops / self.on.flops[dtype], rest / self._bandwidth) + masked_s)

    def error(self, template: Template, values: tuple[int, ...], dtype: str, device: str) -> float:
        """Absolute error of such an operation, P90; of a kind without measurements `UNMEASURED`."""
        name = _family(template.kind, values)
        if name not in self.kernels.errors:
            return UNMEASURED
        start = self.start_s(template, values)
        errors = self.kernels.errors[name]
        of = errors.short if 2 * start >= self.seconds(template, values, dtype) else errors.long
        return of.measured if device in self.kernels.measured_on else of.guessed

    def start_s(self, template: Template, values: tuple[int, ...]) -> float:
        """Of that time, what passes before and after the work."""
        kernel = getattr(self.kernels, _family(template.kind, values) or "small")
        found: float = kernel.start_s(self.on.clock)
        return found

    @property
    def _bandwidth(self) -> float:
        return self.on.bandwidth * self.kernels.small.memory_efficiency

    def _small(self, busy_s: float) -> float:
        return self.kernels.small.start_s(self.on.clock) + busy_s

    def _gemm(self, template: Template, m: int, dtype: str) -> float:
        at = template.attributes
        return gemm.seconds(self.on, self.kernels.gemm, m, int(at["n"]), int(at["k"]), dtype, _widths(template))

    def _experts(self, template: Template, values: tuple[int, ...], dtype: str) -> float:
        at = template.attributes
        tokens, active = values
        ranks, count, top_k = int(at.get("expert_ranks", 1)), int(at["experts"]), int(at["top_k"])
        matrices = 3 if at.get("gated", True) else 2
        expert = experts.Expert(int(at["hidden"]), int(at["intermediate"]), matrices, dtype, _widths(template))
        to = experts.Routed(tokens * top_k, active, count, tokens * ranks, tokens * top_k * ranks)
        spent = experts.seconds(self.on, self.kernels.experts, to, expert)
        router = 2.0 * tokens * expert.hidden * count / self.on.flops[dtype]
        more = int(at.get("routing_kernels", 1)) - 1
        return spent + router + more * self.kernels.small.start_s(self.on.clock)

    def _attention(self, template: Template, values: tuple[int, ...], dtype: str) -> float:
        """Prompts and decodes of a batch are one kernel: the longer start, both works."""
        decodes, context = values[0], values[1] + values[0]
        prompts = [(new, cached) for new, cached in zip(values[4::2], values[5::2], strict=True) if new]
        if all(new == 1 for new, _ in prompts):
            decodes, context = decodes + len(prompts), context + sum(cached + 1 for _, cached in prompts)
            prompts = []
        spent = start = 0.0
        if prompts:
            spent += self._prompts(template, prompts, dtype)
            start = self.kernels.decode_attention.start_ns * 1e-9
        if decodes:
            spent += self.decodes_of(template, dtype)(decodes, context) - start
        return spent

    def decodes_of(self, template: Template, dtype: str) -> DecodeSeconds:
        """Seconds by the number of decodes and the sum of keys they see, themselves included."""
        if template.id not in self.decodes:
            self.decodes[template.id] = DecodeSeconds(self, template, dtype)
        return self.decodes[template.id]

    def _prompts(self, template: Template, prompts: list[tuple[int, int]], dtype: str) -> float:
        at = template.attributes
        size = int(at.get("prompt_head_size", at["head_size"]))
        v_size = int(at.get("prompt_v_head_size", at.get("v_head_size", size)))
        # Latent attention computes a prompt with K and V of every head, unpacked from what is kept.
        kv_heads = int(at["heads"] if "prompt_head_size" in at else at["kv_heads"])
        flat = tuple(number for prompt in prompts for number in prompt)
        flops, moved = work(template, (0, 0, 0, 0, *flat))
        new = sum(tokens for tokens, _ in prompts)
        kept = int(at["head_size"]) * (1 if at.get("shared_kv") else 2)
        written = 2.0 * new * int(at["kv_heads"]) * kept * DTYPE_BYTES[str(at["kv_dtype"])]
        shape = attention.Shape(int(at["heads"]), kv_heads, size, v_size, dtype)
        per_pair = shape.heads * shape.pair
        plain = sum(pairs_seen(*prompt) for prompt in prompts)
        share = flops / per_pair / plain  # what is seen of all pairs: windows, chosen tokens
        seen = [(tokens, share * pairs_seen(tokens, cached), _most(at, tokens + cached)) for tokens, cached in prompts]
        return attention.prefill(self.on, self.kernels.prefill_attention, shape, seen, moved, written)


class DecodeSeconds:
    """One template's attention of decodes: seconds by their number and the sum of the keys they see."""

    def __init__(self, by: ByFamily, template: Template, dtype: str) -> None:
        at = template.attributes
        size = int(at["head_size"])
        shape = attention.Shape(int(at["heads"]), int(at["kv_heads"]), size, int(at.get("v_head_size", size)), dtype)
        self._kernel = attention.Decodes(by.on, by.kernels.decode_attention, shape)
        line = DecodeLine.of(template)
        self._key = line.key_size
        self._query = line.size - line.key_size  # without its own key

    def __call__(self, decodes: int, keys: int) -> float:
        return self._kernel.seconds(decodes, keys / decodes, decodes * self._query + keys * self._key)

    def progression(self, decodes: int, keys: Sequence[int]) -> list[float]:
        """The same at each of these sums."""
        return self._kernel.progression(decodes, keys, self._query, self._key)


def _family(kind: str, values: tuple[int, ...]) -> str:
    """Its name in the catalog, "" if there is none; a batch with prompts is of theirs."""
    if kind == "attention":
        return "prefill_attention" if any(new > 1 for new in values[4::2]) else "decode_attention"
    return {"gemm": "gemm", "moe": "experts"}.get(kind, "")


def _most(at: Mapping[str, Attribute], keys: int) -> int:
    """Keys that the last query of a prompt sees."""
    sees = int(at.get("sees", 0))
    return min(keys, sees) if sees else keys


def _widths(template: Template) -> tuple[float, float, float]:
    """Bytes of a number of the input, of a weight, of the output."""
    at = template.attributes
    width = DTYPE_BYTES[str(at["dtype"])]
    weight = float(at["weight_bits"]) / 8 if "weight_bits" in at else width
    return DTYPE_BYTES[str(at.get("compute", at["dtype"]))], weight, width
