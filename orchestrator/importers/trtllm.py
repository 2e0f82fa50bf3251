"""`trtllm-serve`: what its flags mean. vLLM's rules stand in for its scheduler, and it is said."""

from __future__ import annotations

from typing import Any

from .tool import Server, Tool, whole_experts

VERSION = "vllm-0.19"


def _per_node(server: Server, value: Any) -> None:
    server.per_node = value


def _finish(server: Server) -> None:
    whole_experts(server)
    server.assumed.append(
        f"scheduler, chunked prefill, KV cache by the rules of {VERSION}: TensorRT-LLM's own are not modelled"
    )
    server.instance["engine"].setdefault("max_num_seqs", 2048)  # BuildConfig.max_batch_size
    server.instance["engine"].setdefault("max_num_batched_tokens", 8192)  # BuildConfig.max_num_tokens


TOOL = Tool(
    name="trtllm",
    table="trtllm",
    version=VERSION,
    readers={
        "experts": lambda server, value: server.instance.update(expert_ranks=value),
        "per_node": _per_node,
    },
    finish=_finish,
)
