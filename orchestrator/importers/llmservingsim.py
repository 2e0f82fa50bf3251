"""Importer: an LLMServingSim set-up (cluster JSON, profile folder, workload, serving flags) -> scenario.

What it asks for and this project does not do is refused, not dropped. Their link bandwidth is in
binary gigabytes a second, everything else in decimal ones.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from .llmservingsim_cluster import check

#: their hardware names -> ours, for watts and memory; others keep their name.
DEVICES = {
    "RTXPRO6000": "rtx-pro-6000",
    "RTX4090": "rtx-4090",
    "A6000": "rtx-a6000",
    "H100": "h100-sxm",
    "A100": "a100-80g-sxm",
    "TPU-v6e-1": "tpu-v6e",
}
#: their hardware names -> links between devices of a node
INTERCONNECTS: dict[str, dict[str, str]] = {
    "H100": {"type": "nvlink4"},
    "A100": {"type": "nvlink3"},
    "A6000": {"type": "pcie4-x16", "topology": "pcie"},
}
#: their hardware on which vLLM uses FlashAttention 3
HOPPER = {"H100", "H200"}
ENGINE_FIELDS = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "long_prefill_token_threshold",
    "block_size",
    "enable_chunked_prefill",
    "enable_prefix_caching",
    "kv_cache_dtype",
)
REFUSED = (
    "enable_local_offloading",
    "enable_attn_offloading",
    "enable_sub_batch_interleaving",
    "placement",
)


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a set-up; scenario paths are written relative to ``target``."""

    cluster: Path
    profiles: Path
    models: Path
    workload: Path
    target: Path

    def relative(self, path: Path) -> str:
        return os.path.relpath(path.resolve(), self.target.resolve().parent)


def convert(
    sources: Sources, flags: Mapping[str, Any], limit: int | None, router: str, profile_format: str = "current"
) -> dict[str, Any]:
    """The scenario as plain data. ``flags`` are serving flags given on the command line: they are the
    default of every instance, as in LLMServingSim. Raises InputError."""
    where = str(sources.cluster)
    cluster = _load(sources.cluster)
    nodes: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    components: dict[str, dict[str, Any]] = {}
    instances = _Instances(sources, where, flags)
    for i, node in enumerate(_list(where, cluster, "nodes")):
        name, accelerators = f"n{i}", f"n{i}.accelerators"
        parts = _list(f"{where}: nodes[{i}]", node, "instances")
        kind = _hardware(where, i, node, parts)
        nodes.append(_node(where, i, node, kind, instances.on(name, i, parts), parts[-1]["npu_mem"]["mem_size"]))
        components[accelerators] = {
            "model": "profiled",
            "bundle": sources.relative(sources.profiles / kind),
            **({} if profile_format == "current" else {"format": profile_format}),
            **({"flash_attention": 3} if profile_format == "v0" and kind in HOPPER else {}),
            **_watts(node, kind),
        }
        networks.append(_network(where, cluster, f"link{i}", [accelerators], kind))
    if len(nodes) > 1:
        networks.append(_network(where, cluster, "links", list(components)))
    workload = {"format": "llmservingsim", "path": sources.relative(sources.workload)}
    return {
        "name": sources.target.stem,
        "workload": workload | ({"limit": limit} if limit else {}),
        "cluster": {"nodes": nodes, "networks": networks},
        "instances": instances.made,
        "router": {"policy": router},
        "components": components,
    }


class _Instances:
    """The instances of all nodes; members of a data-parallel group become one."""

    def __init__(self, sources: Sources, where: str, flags: Mapping[str, Any]) -> None:
        self._sources, self._where, self._flags = sources, where, flags
        self._groups: dict[str, dict[str, Any]] = {}  # data-parallel group, or an instance's own name -> instance
        self.made: list[dict[str, Any]] = []

    def on(self, node: str, i: int, parts: list[dict[str, Any]]) -> int:
        """Take in those of node ``i``; how many devices they take."""
        count = 0
        for j, part in enumerate(parts):
            spot = f"nodes[{i}].instances[{j}]"
            tp, pp = _parallel(self._where, spot, part)
            name, devices = f"i{len(self.made)}", f"{node}[{count}:{count + tp * pp}]"
            made = _instance(self._sources, self._where, spot, part, name, devices, (tp, pp), self._flags)
            first = self._groups.setdefault(part.get("dp_group") or name, made)
            if first is made:
                self.made.append(made)
            else:
                _join(self._where, spot, first, made)
            count += tp * pp
        return count


def _hardware(where: str, i: int, node: dict[str, Any], parts: list[dict[str, Any]]) -> str:
    """The one kind of device that a node has."""
    memory = node.get("cpu_mem", {})
    if "pim_config" in memory:
        raise InputError(where, f"nodes[{i}].cpu_mem.pim_config", memory["pim_config"], "PIM is not supported")
    kinds = {part.get("hardware") for part in parts}
    if len(kinds) != 1:
        spot, given = f"nodes[{i}].instances", sorted(map(str, kinds))
        raise InputError(where, spot, given, "one kind of hardware a node is supported")
    return str(kinds.pop())


def _node(where: str, i: int, node: dict[str, Any], kind: str, count: int, memory_gib: float) -> dict[str, Any]:
    return {
        "name": f"n{i}",
        "accelerators": {"type": DEVICES.get(kind, kind), "count": count, "memory_gib": memory_gib},
        "memory": {"dram": _dram(where, f"nodes[{i}].cpu_mem", node)},
        **({"power": {"base_w": node["power"].get("base_node_power", 0)}} if node.get("power") else {}),
    }


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise InputError(str(path), "cluster config", None, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(str(path), "cluster config", None, f"is not JSON: {error}") from None
    except RecursionError:
        raise InputError(str(path), "cluster config", None, "is nested too deeply") from None
    if not isinstance(data, dict):
        raise InputError(str(path), "cluster config", None, "must be a JSON object")
    if "cxl_mem" in data:
        raise InputError(str(path), "cxl_mem", None, "CXL memory is not supported")
    check(str(path), data)
    return data


def _list(where: str, data: dict[str, Any], field: str) -> list[Any]:
    value = data.get(field)
    if not isinstance(value, list) or not value:
        raise InputError(where, field, value, "must be a list of at least one")
    return value


def _parallel(where: str, spot: str, part: dict[str, Any]) -> tuple[int, int]:
    """(tp, pp) by their inference from what is given."""
    npus, tp, pp = part.get("num_npus", part.get("npu_num")), part.get("tp_size"), part.get("pp_size")
    pp = pp or part.get("npu_group")  # their older word for the stages
    if tp is None:
        tp = (npus or 1) // (pp or 1)
    if pp is None:
        pp = (npus or tp) // tp
    if npus not in (None, tp * pp):
        raise InputError(where, f"{spot}.num_npus", npus, f"must equal tp_size x pp_size = {tp * pp}")
    return int(tp), int(pp)


def _join(where: str, spot: str, first: dict[str, Any], member: dict[str, Any]) -> None:
    """One more member of a data-parallel group: the same but for its devices."""
    for field in ("model", "tensor_parallel_size", "pipeline_parallel_size", "engine", "enable_expert_parallel"):
        if first.get(field) != member.get(field):
            raise InputError(where, f"{spot}.{field}", member.get(field), "must be that of the others of its dp_group")
    devices = first["accelerators"]
    first["accelerators"] = [*(devices if isinstance(devices, list) else [devices]), member["accelerators"]]
    first["data_parallel_size"] = first.get("data_parallel_size", 1) + 1


LENGTHS = re.compile(rb'"input_toks"\s*:\s*(\d+).*?"output_toks"\s*:\s*(\d+)')


@cache
def _longest(workload: Path) -> int:
    """Tokens of the longest request of a workload file, prompt and output; 0 if none can be read."""
    try:
        with workload.open("rb") as file:
            return max((int(a) + int(b) for line in file for a, b in LENGTHS.findall(line)), default=0)
    except OSError:
        return 0


def _instance(
    sources: Sources,
    where: str,
    spot: str,
    part: dict[str, Any],
    name: str,
    devices: str,
    split: tuple[int, int],
    flags: Mapping[str, Any],
) -> dict[str, Any]:
    for field in REFUSED:
        if part.get(field):
            raise InputError(where, f"{spot}.{field}", part[field], "is not supported")
    model = part.get("model_name")
    if not model or "npu_mem" not in part:
        raise InputError(where, spot, sorted(part), "needs model_name, hardware and npu_mem")
    config = sources.models / f"{model}.json"
    if not config.is_file():
        raise InputError(where, f"{spot}.model_name", model, f"there is no {config}")
    engine: dict[str, Any] = {field: flags[field] for field in ENGINE_FIELDS if flags.get(field) is not None}
    engine["reserve_working_memory"] = False  # they count weights alone against the memory
    engine |= {field: part[field] for field in ENGINE_FIELDS if part.get(field) is not None}
    if "npu_num" in part:  # their older configs give what may be used, are of that time, and were measured by clients
        engine |= {"version": "vllm-0.11", "gpu_memory_utilization": 1.0, "api_server_count": 1}
    if "mem_util" in part["npu_mem"]:
        engine["gpu_memory_utilization"] = part["npu_mem"]["mem_util"]
    reserve = part.get("reserve_full_isl", flags.get("reserve_full_isl"))
    if reserve is not None:
        engine["scheduler_reserve_full_isl"] = reserve
    dtype = part.get("dtype", flags.get("dtype"))
    # They know no limit of a request's length. vLLM has one, for which there must be room: the longest there is.
    if (longest := _longest(sources.workload)) and longest <= int(_load(config).get("max_position_embeddings") or 0):
        engine["max_model_len"] = longest
    return {
        "name": name,
        "model": sources.relative(config),
        "accelerators": devices,
        "tensor_parallel_size": split[0],
        **({"pipeline_parallel_size": split[1]} if split[1] > 1 else {}),
        **({"role": part["pd_type"]} if part.get("pd_type") else {}),
        **({"enable_expert_parallel": True} if (part.get("ep_size") or 1) > 1 else {}),
        **({"dtype": _SHORT.get(dtype, dtype)} if dtype else {}),
        "engine": engine,
    }


_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def _dram(where: str, spot: str, node: dict[str, Any]) -> dict[str, Any]:
    memory = node.get("cpu_mem")
    if not isinstance(memory, dict) or "mem_bw" not in memory:
        raise InputError(where, spot, memory, "needs mem_bw")
    dram = {
        **({"size_gib": memory["mem_size"]} if "mem_size" in memory else {}),
        "bandwidth_gb_s": memory["mem_bw"],
        "latency_ns": memory.get("mem_latency", 0),
    }
    energy = node.get("power", {}).get("dram", {}).get("energy_per_bit")
    return dram | ({"energy_pj_per_bit": energy} if energy is not None else {})


def _watts(node: dict[str, Any], hardware: str) -> dict[str, float]:
    npu = node.get("power", {}).get("npu", {}).get(hardware)
    return {"idle_w": npu["idle_power"], "active_w": npu["active_power"]} if npu else {}


def _network(where: str, cluster: dict[str, Any], name: str, connects: list[str], hardware: str = "") -> dict[str, Any]:
    bandwidth, latency = cluster.get("link_bw"), cluster.get("link_latency")
    if isinstance(bandwidth, list):
        bandwidth = next(iter(bandwidth), None)
    if isinstance(latency, list):
        latency = next(iter(latency), None)
    if not isinstance(bandwidth, int | float) or not isinstance(latency, int | float):
        raise InputError(where, "link_bw, link_latency", (bandwidth, latency), "must be numbers")
    if not latency and hardware in INTERCONNECTS:
        # No collective takes no time: a latency of 0 is a placeholder, and the device's own links are known.
        return {"name": name, "connects": connects, **INTERCONNECTS[hardware]}
    return {
        "name": name,
        "connects": connects,
        "topology": "ring",
        "bandwidth_gb_s": bandwidth * 2**30 / 1e9,
        "latency_ns": latency,
    }
