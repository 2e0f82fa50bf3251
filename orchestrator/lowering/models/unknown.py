"""A ``model_type`` nobody here knows: served by its fields if these are a plain decoder's, else refused by one."""

from __future__ import annotations

import re

from .attention import KINDS, Style
from .feedforward import GATED, UNGATED
from .fields import Fields
from .plain import Family

#: parts of names of fields that say a model is more than a plain decoder, wherever one is set
MORE = re.compile(
    r"expert|moe|mamba|ssm|lru|recurrent|lora_rank|latent|hybrid|sparse|index_topk|compress|linear_(attn|num|key|value)"
    r"|block_(type|config)|attn_type|layers_type|(layer|expert|attn)_period|attention_interval|attention_chunk|delta"
    r"|conv_|state_size|kv_shared|cross_att|encoder_|alibi|parallel_attn|new_decoder|v_head_dim|global|per_layer|altup|laurel"
)
#: such parts in names that every config may have
HARMLESS = frozenset({"encoder_no_repeat_ngram_size", "add_cross_attention", "tie_encoder_decoder"})
#: names that say so alone: encoders, decoders that attend to one, recurrences without attention
NO_DECODERS = frozenset(
    (
        *("albert", "bart", "bert", "big_bird", "blenderbot", "clip", "deberta", "deberta-v2", "distilbert", "electra"),
        *("longformer", "mamba", "mamba2", "marian", "mbart", "modernbert", "mt5", "nomic_bert", "pegasus", "roberta"),
        *("rwkv", "siglip", "t5", "umt5", "vit", "whisper", "xlm-roberta", "xlnet"),
    )
)
NEEDED = (
    ("hidden_size",),
    ("num_hidden_layers",),
    ("num_attention_heads",),
    ("vocab_size",),
    ("intermediate_size", "ffn_dim"),
)


def family(at: Fields, model_type: str, near: str, known: str) -> Family:
    """Its family by its fields, with a warning; ``near`` and ``known`` say which names there are.

    Raises InputError for a field that says more than a plain decoder has, or that is missing, and for an activation
    that leaves open whether the MLP has a gate.
    """
    known = near + known
    if model_type in NO_DECODERS:
        raise at.refuse("model_type", model_type, f"is no decoder with attention alone; {known}")
    for name, value in at.text.items():
        if MORE.search(name) and name not in HARMLESS and value not in (None, False, 0, [], {}, ""):
            raise at.refuse("model_type", model_type, f"is not known and has {name}, so is no plain decoder; {known}")
    for names in NEEDED:
        if at.get(*names) is None:
            raise at.refuse("model_type", model_type, f"is not known and has no {names[0]}; {known}")
    strange = sorted({str(kind) for kind in at.get("layer_types") or ()} - KINDS)
    if strange:
        raise at.refuse("layer_types", strange[0], f"of model_type {model_type!r} is not known; {known}")
    activation = at.get("hidden_act", "hidden_activation", "activation_function", default="silu")
    if activation not in GATED | UNGATED:
        allowed = f"does not say whether the MLP of model_type {model_type!r}, which is not known, has a gate"
        raise at.refuse("hidden_act", activation, f"{allowed}; {known}")
    gated = activation in GATED
    at.warn(
        f"model_type {model_type!r} is not known; {near}it is served as a plain decoder by its fields (two norms "
        f"a layer, {'a gate' if gated else 'no gate'} in the MLP, biases as attention_bias and mlp_bias say): "
        "check its weights against the checkpoint"
    )
    return Family(Style("head" if at.flag("use_qk_norm") else "", o_bias=None), gated=gated)
