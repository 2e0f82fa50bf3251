"""MLPs and experts of a layer, by a config's fields."""

from __future__ import annotations

from .fields import Fields
from .parts import Experts, Linear, Mlp

#: activations that come with a gate in every model that has them, and those that come without
GATED, UNGATED = frozenset({"silu", "swish"}), frozenset({"relu2", "relu", "gelu_new", "gelu_fast", "xielu"})


def mlp(
    at: Fields,
    width: int,
    *,
    path: str = "mlp",
    into: int | None = None,
    gated: bool = True,
    bias: bool | None = None,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Mlp:
    """An MLP ``width`` wide; a bias as ``mlp_bias`` says unless given."""
    into = into or at.number("hidden_size")
    bias = at.flag("mlp_bias", "use_mlp_bias") if bias is None else bias
    gate, up, down = names
    linears = [Linear(f"{path}.{gate}", width, into, bias=bias)] if gated else []
    linears += [Linear(f"{path}.{up}", width, into, bias=bias), Linear(f"{path}.{down}", into, width, "in", bias=bias)]
    return Mlp(tuple(linears), width, into, gated)


def around(at: Fields, narrow: int, path: str) -> tuple[Linear, ...]:
    """Into the space that experts work in, ``narrow`` wide, and back; none where that is 0."""
    hidden = at.number("hidden_size")
    into = Linear(f"{path}.fc1_latent_proj", narrow, hidden, "")
    return (into, Linear(f"{path}.fc2_latent_proj", hidden, narrow, "")) if narrow else ()


def experts(
    at: Fields,
    *,
    width: int | None = None,
    path: str = "mlp",
    into: int | None = None,
    gated: bool = True,
    bias: bool = False,
    router_bias: bool = False,
    shared: Mlp | None = None,
    shared_gate: bool = False,
    router: str = "gate",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
    around: tuple[Linear, ...] = (),
    vectors: int = 0,
    kernels: int = 1,
) -> Experts:
    """Experts by ``num_experts`` (or as a family calls it) and ``num_experts_per_tok``."""
    hidden = at.number("hidden_size")
    count = at.number("num_local_experts", "num_experts", "n_routed_experts")
    top_k = at.number("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts")
    if top_k > count:
        raise at.refuse("num_experts_per_tok", top_k, f"must not exceed the experts ({count})")
    width = width or at.number("moe_intermediate_size", "intermediate_size")
    one = mlp(at, width, path=f"{path}.experts.0", into=into, gated=gated, bias=bias, names=names)
    chooser = [Linear(f"{path}.{router}", count, hidden, "", router_bias, quantisable=False)]
    if shared and shared_gate:
        chooser.append(Linear(f"{path}.shared_expert_gate", 1, hidden, "", quantisable=False))
    return Experts(one.linears, tuple(chooser), count, top_k, width, one.into, shared, around, vectors, gated, kernels)
