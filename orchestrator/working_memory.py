"""What of a model's layers is live when a full batch passes them, on one device."""

from __future__ import annotations

from metronome.hwmodels.interface import DTYPE_BYTES

from .lowering.architecture import Architecture
from .lowering.layout import Layout
from .lowering.models.parts import Experts, Latent, Layer, Mlp
from .serving.kv.profile_run import Demand

#: tokens whose keys and values vLLM unfolds at once from latent vectors, with contexts of 8,192 tokens and more
#: (`model_executor/layers/attention/mla_attention.py`, determine_chunked_prefill_workspace_size; 0.19)
UNFOLDED_TOKENS = 65536


def demand(
    arch: Architecture, layout: Layout, tokens: int, sequences: int, samples: bool, embeds: bool = True
) -> Demand:
    """Of a batch of ``tokens``, of which logits of so many sequences are sampled where it ``samples``, and into
    which images are embedded where it ``embeds``."""
    width = DTYPE_BYTES[arch.dtype]
    latent = [block.mixer for block in arch.blocks if isinstance(block.mixer, Latent)]
    unfolded = max((of.heads // layout.tp * (of.nope + of.v_size) for of in latent), default=0)
    return Demand(
        tokens,
        sequences,
        arch.hidden,
        arch.vocab if samples else 0,
        width,
        max(_live(block) for block in arch.blocks) // layout.tp,
        max((_scratch(block.experts, layout) for block in arch.blocks if block.experts), default=0),
        int(UNFOLDED_TOKENS * unfolded * width),
        int(_images(arch, tokens) * width) if embeds and arch.tower else 0,
    )


def _images(arch: Architecture, tokens: int) -> int:
    """Numbers of as many images as a step may encode: their patches and their embeddings, which a profile run holds."""
    if arch.tower is None:
        return 0
    most = max(tokens, arch.tower.most_tokens)
    return most * (arch.tower.patches * arch.tower.patch_inputs + arch.tower.out * arch.tower.projectors)


def _live(block: Layer) -> int:
    """Numbers of a token in an MLP, uncut: both halves of a gated one's first product and what the activation makes of
    them."""
    mlps = [block.mlp, block.dense, block.experts.shared if block.experts else None]
    return max([(3 if mlp.gated else 2) * mlp.width for mlp in mlps if isinstance(mlp, Mlp)], default=0)


def _scratch(of: Experts, layout: Layout) -> int:
    """Numbers of a token in two buffers, each for ``top_k`` experts: the first product or the output, and the
    activation or the input of the second (`fused_moe.py`, TritonExperts.workspace_shapes; 0.19).
    The kernels of MXFP4 have none that lasts. Over data-parallel ranks the tokens of all come together."""
    stored = of.linears[0].format
    if stored.name == "fp4" and stored.columns == 32:
        return 0
    width = of.width if layout.expert_ranks > 1 else of.width // layout.tp
    members = layout.dp if layout.expert_parallel else 1
    first = (2 if of.gated else 1) * width
    return members * of.top_k * (max(first, of.into) + max(width, of.into))
