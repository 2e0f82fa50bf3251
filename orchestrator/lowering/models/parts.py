"""What a layer of a model is made of: its matrices, what it attends to, what it keeps of a token or a sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from metronome.hwmodels.interface import DTYPE_BYTES

from .formats import PLAIN, Format

Cut = Literal["out", "in", ""]


@dataclass(frozen=True, slots=True)
class Linear:
    """A weight matrix of ``out`` x ``into`` numbers.

    ``path`` is its name in a checkpoint, below its layer. Tensor parallelism cuts its outputs, its inputs
    or nothing. Only ``quantisable`` ones take a checkpoint's format.
    """

    path: str
    out: int
    into: int
    cut: Cut = "out"
    bias: bool = False
    quantisable: bool = True
    format: Format = PLAIN

    @property
    def parameters(self) -> int:
        return self.out * self.into + self.out * self.bias

    def shape(self, tp: int) -> tuple[int, int]:
        """(out, into) on one of ``tp`` ranks."""
        return (self.out // tp if self.cut == "out" else self.out, self.into // tp if self.cut == "in" else self.into)

    def size(self, tp: int, dtype: str) -> float:
        """Bytes on one of ``tp`` ranks, with scales and bias."""
        out, into = self.shape(tp)
        return self.format.size(out, into, dtype) + (out * DTYPE_BYTES[dtype] if self.bias else 0)


@dataclass(frozen=True, slots=True)
class Index:
    """A small attention that chooses which ``top_k`` tokens a query attends to (DeepSeek sparse attention).

    Its keys, one of ``size`` a token, are kept in fp8 with a scale of 4 bytes. ``own`` is False where a layer
    uses what an earlier one chose; it then has no matrices and keeps nothing.
    """

    heads: int
    size: int
    top_k: int
    linears: tuple[Linear, ...] = ()
    own: bool = True

    @property
    def kept_bytes(self) -> int:
        return self.size + 4 if self.own else 0


@dataclass(frozen=True, slots=True)
class Attention:
    """Multi-head attention with ``kv_heads`` keys and values of ``head_size`` (values: ``v_size``).

    Attributes:
        window: tokens a query sees, itself included; 0 = all before it.
        chunk: queries see their own chunk of so many tokens only; 0 = none.
        top_k: cached tokens a query attends to, chosen among all; 0 = all.
        keeps: False where it uses an earlier layer's K and V.
        value_is_key: V is made of K without a matrix of its own; both are kept.
        qk_norm: vectors of the norms of Q and K are of that many numbers; 0 = no such norms.
        gate: an output gate as wide as the queries, made by the query projection.
        sinks: a learned logit a head.
        rotary: positions are rotated into Q and K.
    """

    linears: tuple[Linear, ...]
    heads: int
    kv_heads: int
    head_size: int
    v_size: int
    window: int = 0
    chunk: int = 0
    top_k: int = 0
    index: Index | None = None
    keeps: bool = True
    qk_norm: int = 0
    gate: bool = False
    sinks: bool = False
    rotary: bool = True

    @property
    def vectors(self) -> int:
        return self.qk_norm + (self.heads if self.sinks else 0)

    @property
    def sees(self) -> int:
        """Tokens a query sees at most; 0 = all."""
        return self.window or self.chunk

    def local_kv_heads(self, tp: int) -> int:
        """On one rank; heads are repeated where ``tp`` exceeds them."""
        return -(-self.kv_heads // tp)

    def kept(self, tp: int, kv_dtype: str) -> int:
        """Bytes of one token on one device."""
        if not self.keeps:
            return 0
        own = int(self.local_kv_heads(tp) * (self.head_size + self.v_size) * DTYPE_BYTES[kv_dtype])
        return own + (self.index.kept_bytes if self.index else 0)


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, 2024): one vector of ``rank`` + ``rope`` numbers a token is kept.

    Decodes attend over it as it is: the projections up to ``heads`` keys of ``nope`` + ``rope`` and values of
    ``v_size`` are absorbed into those of the queries and the output. Every rank keeps the whole vector.
    """

    linears: tuple[Linear, ...]
    heads: int
    q_rank: int
    rank: int
    nope: int
    rope: int
    v_size: int
    index: Index | None = None

    @property
    def vectors(self) -> int:
        return self.q_rank + self.rank + (2 * self.index.size if self.index and self.index.own else 0)

    window = chunk = 0
    sees = 0
    keeps = True

    @property
    def top_k(self) -> int:
        return self.index.top_k if self.index else 0

    def kept(self, tp: int, kv_dtype: str) -> int:
        """Bytes of one token on one device."""
        return int((self.rank + self.rope) * DTYPE_BYTES[kv_dtype]) + (self.index.kept_bytes if self.index else 0)


@dataclass(frozen=True, slots=True)
class Compressed:
    """Attention of DeepSeek-V4: all heads share one vector of ``size`` a token as key and value.

    The last ``window`` tokens are kept as they are, and of every ``ratio`` tokens one more vector made of them, for
    good (0: the window only). A query sees the window and all of these, or those that ``index`` chooses. Queries come
    from a vector of ``q_rank``; outputs pass ``groups`` of ``o_rank`` numbers. Every rank keeps the whole vectors.
    """

    linears: tuple[Linear, ...]
    heads: int
    size: int
    rope: int
    q_rank: int
    groups: int
    window: int
    ratio: int
    vectors: int
    index: Index | None = None

    chunk = sees = 0
    keeps = True

    @property
    def top_k(self) -> int:
        return self.index.top_k if self.index else 0

    def kept(self, tp: int, kv_dtype: str) -> int:
        """Bytes of one token on one device, in the compressed vectors."""
        if not self.ratio:
            return 0
        return int((self.size * DTYPE_BYTES[kv_dtype] + (self.index.kept_bytes if self.index else 0)) / self.ratio)

    def window_bytes(self, kv_dtype: str) -> int:
        """Bytes of one of the last ``window`` tokens."""
        return int(self.size * DTYPE_BYTES[kv_dtype])


@dataclass(frozen=True, slots=True)
class State:
    """A layer that keeps a state of fixed size a sequence instead of K and V: Mamba, gated delta net.

    ``state`` numbers of type ``state_dtype`` are updated by every token; ``conv`` more, of the model's type, are
    the last inputs of a short convolution, ``conv_width`` wide with a kernel of ``kernel``. ``heads`` of
    ``head_size`` x ``depth`` make up the state. ``vectors`` are its other parameters, cut with the heads. Of Mamba-2's
    convolution ``groups`` of heads share 2 x ``depth`` channels; ranks beyond the groups repeat them, as in vLLM 0.19
    (`mamba_utils.py`, extra_groups_for_head_shards).
    """

    linears: tuple[Linear, ...]
    heads: int
    head_size: int
    depth: int
    conv_width: int
    kernel: int
    vectors: int
    state_dtype: str = ""
    layer: str = "mamba"
    groups: int = 0

    window = chunk = top_k = 0
    keeps = False

    def state_bytes(self, tp: int, dtype: str) -> int:
        """Bytes a sequence keeps on one device."""
        state = self.heads * self.head_size * self.depth * DTYPE_BYTES[self.state_dtype or dtype]
        return int(state // tp + self.local_conv(tp) * (self.kernel - 1) * DTYPE_BYTES[dtype])

    def local_conv(self, tp: int) -> int:
        """Channels of the convolution on one device."""
        shared = 2 * self.depth
        if self.groups % tp == 0:
            return self.conv_width // tp
        return (self.conv_width - self.groups * shared) // tp + shared

    def kept(self, tp: int, kv_dtype: str) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Mlp:
    """Up, activation (times a gate if ``gated``), down: ``width`` wide, between vectors of ``into``."""

    linears: tuple[Linear, ...]
    width: int
    into: int
    gated: bool = True


@dataclass(frozen=True, slots=True)
class Experts:
    """``count`` MLPs of which each token takes ``top_k``, ``width`` wide, between vectors of ``into``.

    ``linears`` are those of one expert, ``router`` those that choose, ``around`` those between the layer's
    vectors and narrower ones of the experts. Every token also takes ``shared`` (and ``dense``, a full MLP
    beside them). ``kernels`` choose the experts.
    """

    linears: tuple[Linear, ...]
    router: tuple[Linear, ...]
    count: int
    top_k: int
    width: int
    into: int
    shared: Mlp | None = None
    around: tuple[Linear, ...] = ()
    vectors: int = 0
    gated: bool = True
    kernels: int = 1


Mixer = Attention | Latent | Compressed | State
FormatOf = Callable[[Linear], Format]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. ``norms`` are the parameters of its norms, whole on every rank; ``extra`` other matrices."""

    mixer: Mixer | None
    mlp: Mlp | Experts | None
    norms: int
    dense: Mlp | None = None
    extra: tuple[Linear, ...] = field(default=())

    @property
    def experts(self) -> Experts | None:
        return self.mlp if isinstance(self.mlp, Experts) else None

    @property
    def linears(self) -> tuple[Linear, ...]:
        """Its matrices, those of the experts that are not for every token apart."""
        found = [*(self.mixer.linears if self.mixer else ()), *self.extra]
        index = getattr(self.mixer, "index", None)
        found += index.linears if index else ()
        for mlp in (self.mlp, self.dense):
            if isinstance(mlp, Mlp):
                found += mlp.linears
        if self.experts:
            found += self.experts.around + (self.experts.shared.linears if self.experts.shared else ())
        return tuple(found)


def formatted(layer: Layer, choose: FormatOf) -> Layer:
    """The layer with the format that ``choose`` gives each quantisable matrix."""

    def all_of(linears: tuple[Linear, ...]) -> tuple[Linear, ...]:
        return tuple(replace(one, format=choose(one)) if one.quantisable else one for one in linears)

    def mlp_of(mlp: Mlp) -> Mlp:
        return replace(mlp, linears=all_of(mlp.linears))

    mixer, mlp = layer.mixer, layer.mlp
    if mixer is not None:
        mixer = replace(mixer, linears=all_of(mixer.linears))
        if isinstance(mixer, Attention | Latent | Compressed) and mixer.index:
            mixer = replace(mixer, index=replace(mixer.index, linears=all_of(mixer.index.linears)))
    if isinstance(mlp, Experts):
        mlp = replace(
            mlp,
            linears=all_of(mlp.linears),
            router=all_of(mlp.router),
            around=all_of(mlp.around),
            shared=mlp_of(mlp.shared) if mlp.shared else None,
        )
    elif mlp is not None:
        mlp = mlp_of(mlp)
    dense = mlp_of(layer.dense) if layer.dense else None
    return Layer(mixer, mlp, layer.norms, dense, all_of(layer.extra))
