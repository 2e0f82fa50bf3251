"""What a transformer is made of: its layers, and how many bytes they are, whole or on one device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

from metronome.hwmodels.interface import DTYPE_BYTES

from .models.parts import Attention, Compressed, Experts, Latent, Layer, Linear, Mlp, State
from .models.vision import Tower


@dataclass(frozen=True)
class Architecture:
    """One model.

    Attributes:
        name: as it is asked for; ``family``: its ``model_type``.
        hidden, vocab, max_positions: sizes of vectors, vocabulary and the longest sequence.
        usual_positions: the longest sequence that is served where nobody says.
        dtype: type of weights that are not quantised, and of activations, by its short name.
        blocks: its layers.
        head: the output head; where ``tied``, the embedding is the same matrix.
        final_norm: parameters of the norm before the head.
        encoder: weights of an image encoder, cut as the layers are; ``tower`` is what it is made of, if known.
        per_layer_embedding: of Gemma's.
        learned: parameters of learned positions, whole on every rank that embeds.
        dtype_said: the field of the config that says a ``dtype``, and which; two ``""`` where none does.
        quantization: the method by its name in vLLM, ``""`` if none; the layers have the formats.
        kv_dtype: type of K and V that the checkpoint was made for, ``""`` if it does not say.
        warnings: what the user should know of how its config was read.
    """

    name: str
    family: str
    hidden: int
    vocab: int
    max_positions: int
    dtype: str
    blocks: tuple[Layer, ...]
    head: Linear
    tied: bool = False
    final_norm: int = 0
    encoder: int = 0
    tower: Tower | None = None
    per_layer_embedding: int = 0
    learned: int = 0
    usual_positions: int = 0
    quantization: str = ""
    kv_dtype: str = ""
    dtype_said: tuple[str, str] = ("", "")
    warnings: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        return len(self.blocks)

    @cached_property
    def attention(self) -> Attention | Latent | Compressed | None:
        """That of the first layer with attention; None without any."""
        return next((b.mixer for b in self.blocks if isinstance(b.mixer, Attention | Latent | Compressed)), None)

    @cached_property
    def routed(self) -> Experts | None:
        """The experts of the first layer with any; None for dense models."""
        return next((block.experts for block in self.blocks if block.experts), None)

    @property
    def experts(self) -> int:
        return self.routed.count if self.routed else 0

    @property
    def top_k(self) -> int:
        return self.routed.top_k if self.routed else 0

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """Numbers that tensor parallelism has to divide: heads of attention and states."""
        return tuple(sorted({b.mixer.heads for b in self.blocks if b.mixer is not None}))

    @cached_property
    def kv_heads(self) -> tuple[int, ...]:
        return tuple(sorted({b.mixer.kv_heads for b in self.blocks if isinstance(b.mixer, Attention)}))

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Of MLPs, those beside experts among them, but not of the experts."""
        found = [mlp for block in self.blocks for mlp in (block.mlp, block.dense) if isinstance(mlp, Mlp)]
        found += [block.experts.shared for block in self.blocks if block.experts and block.experts.shared]
        return tuple(sorted({mlp.width for mlp in found}))

    def weight_bytes(
        self,
        tp: int,
        expert_ranks: int = 1,
        layers: range | None = None,
        ends: int = 2,
        dense: bool = True,
        experts: bool = True,
    ) -> int:
        """Weights on one device: attention, MLP and shared experts cut ``tp`` ways, norms whole.

        Whole experts are spread over ``expert_ranks`` devices, or each is cut ``tp`` ways. ``layers`` of the
        model (default all), and as many of its two ends: embedding and output head, one matrix on a device
        that has both where a model ties them. ``experts`` counts the experts with their gate, ``dense`` all else.
        """
        width = DTYPE_BYTES[self.dtype]
        total = self._ends(tp, ends) + (self.encoder * width / tp if ends and dense else 0)
        for block in (self.blocks[i] for i in layers or range(self.layers)):
            if dense:
                total += block_bytes(block, tp, self.dtype)
            if experts and block.experts:
                total += expert_bytes(block.experts, tp, expert_ranks, self.dtype)
        return int(total)

    def _ends(self, tp: int, ends: int) -> float:
        width = DTYPE_BYTES[self.dtype]
        copies = min(ends, 1) if self.tied else ends
        vectors = (self.final_norm + self.learned if ends else 0) + (self.vocab // tp if self.head.bias and ends else 0)
        embedding = (self.vocab // tp) * self.hidden + (self.per_layer_embedding // tp if ends else 0) * (copies > 0)
        first = embedding if copies else 0
        head = self.head.format.size(self.vocab // tp, self.hidden, self.dtype)
        return (first + vectors) * width + max(copies - 1, 0) * head

    def kv_bytes_per_token(self, tp: int, kv_dtype: str, layers: range | None = None) -> int:
        """K and V of one token on one device, of all layers or of some, as long as no window has passed it."""
        return sum(self.kept(layer, tp, kv_dtype) for layer in layers or range(self.layers))

    def kept(self, layer: int, tp: int, kv_dtype: str) -> int:
        """Bytes that one layer keeps of a token on one device."""
        mixer = self.blocks[layer].mixer
        return mixer.kept(tp, kv_dtype) if mixer is not None else 0

    def state_bytes(self, tp: int, layers: range | None = None) -> int:
        """Bytes of the states of one sequence on one device."""
        mixers = (self.blocks[i].mixer for i in layers or range(self.layers))
        return sum(mixer.state_bytes(tp, self.dtype) for mixer in mixers if isinstance(mixer, State))


def served(arch: Architecture, rates: Collection[str]) -> Architecture:
    """What ``dtype: auto`` makes of a checkpoint on devices that compute in the types ``rates`` (empty: not known).

    As vLLM 0.19 (`vllm/config/model.py`, _resolve_auto_dtype): fp32 is served in 16 bits, bf16 as fp16 by devices
    that have no bf16.
    """
    preferred = "fp16" if "fp16" in rates and "bf16" not in rates else "bf16"
    if arch.dtype not in ("fp32", "bf16") or arch.dtype == preferred:
        return arch
    text = f"{arch.name}: dtype auto: its {arch.dtype} weights are served in {preferred}, as by vLLM"
    return replace(arch, dtype=preferred, warnings=(*arch.warnings, text))


def block_bytes(block: Layer, tp: int, dtype: str) -> float:
    """Weights of one layer on one of ``tp`` devices, experts and router apart."""
    width = DTYPE_BYTES[dtype]
    mixer = block.mixer
    vectors = block.norms
    if mixer is not None:
        vectors += mixer.vectors // (tp if isinstance(mixer, State) else 1)
    return sum(linear.size(tp, dtype) for linear in block.linears) + vectors * width


def expert_bytes(experts: Experts, tp: int, ranks: int, dtype: str) -> float:
    """Weights of a layer's experts and router on one device."""
    chosen = sum(linear.size(1, dtype) for linear in experts.router) + experts.vectors * DTYPE_BYTES[dtype]
    return experts.count // ranks * one_expert_bytes(experts, tp, ranks, dtype) + chosen


def one_expert_bytes(experts: Experts, tp: int, ranks: int, dtype: str) -> float:
    """What of an expert lies on a device that has it: all of it, or a slice where experts are not spread."""
    return sum(linear.size(1 if ranks > 1 else tp, dtype) for linear in experts.linears)
