"""`sglang serve`, `python -m sglang.launch_server`: what its flags mean that are no plain field."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .tool import Server, Tool, whole_experts


def _model(server: Server, value: Any) -> None:
    server.model = server.model or value


def _nodes(server: Server, value: Any) -> None:
    server.nodes = value


def _balance(server: Server, value: Any) -> None:
    if value != "round_robin":
        allowed = "is refused: how it counts what waits is not modelled; can be round_robin"
        raise InputError(server.where, "--load-balance-method", value, allowed)


def _finish(server: Server) -> None:
    """Its data-parallel ranks are engines of their own, taken in turn (managers/data_parallel_controller.py)."""
    whole_experts(server)
    engine = server.instance["engine"]
    if "cuda_graph_bs" in engine and engine.pop("cuda_graph_max_bs", None) is not None:
        server.notes["--cuda-graph-max-bs"] = "--cuda-graph-bs is given, too, and wins"
    if server.instance.get("data_parallel_size", 1) > 1:
        server.router = "round-robin"


TOOL = Tool(
    name="sglang",
    table="sglang",
    version="sglang-0.5.5",
    readers={
        "model": _model,
        "nodes": _nodes,
        "experts": lambda server, value: server.instance.update(expert_ranks=value),
        "balance": _balance,
    },
    finish=_finish,
    versions=("sglang-0.5.5",),
)
