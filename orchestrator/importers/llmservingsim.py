"""Importer: an LLMServingSim set-up (cluster JSON, profile folder, workload, serving flags) -> scenario.

What it asks for and this project does not do is refused, not dropped. Sizes are in binary gigabytes, bandwidths of
memory in decimal ones.
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
from ..strict import did_you_mean
from .llmservingsim_cluster import check, without_effect
from .llmservingsim_links import networks
from .llmservingsim_memory import beside_devices
from .llmservingsim_power import device_watts, node_power, undrawn

#: their hardware names -> ours, for watts and memory; others keep their name.
DEVICES = {
    "RTXPRO6000": "rtx-pro-6000",
    "RTX4090": "rtx-4090",
    "A6000": "rtx-a6000",
    "H100": "h100-sxm",
    "A100": "a100-80g-sxm",
    "TPU-v6e-1": "tpu-v6e",
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


@dataclass(frozen=True, slots=True)
class Imported:
    """A scenario as plain data, and what a reader of it should know."""

    scenario: dict[str, Any]
    notes: list[str]


def convert(
    sources: Sources, flags: Mapping[str, Any], limit: int | None, router: str, profile_format: str = "current"
) -> Imported:
    """The scenario of a set-up. ``flags`` are serving flags given on the command line: they are the default of every
    instance, as in LLMServingSim. Raises InputError."""
    where = str(sources.cluster)
    data = _load(sources.cluster)
    cluster = check(where, data)
    nodes: list[dict[str, Any]] = []
    components: dict[str, dict[str, Any]] = {}
    instances = _Instances(sources, where, flags)
    kinds = [_hardware(where, i, node["instances"]) for i, node in enumerate(data["nodes"])]
    for i, (node, typed, kind) in enumerate(zip(data["nodes"], cluster.nodes, kinds, strict=True)):
        name, spot = f"n{i}", f"nodes[{i}]"
        count = instances.on(name, i, node["instances"])
        nodes.append(
            {
                "name": name,
                "accelerators": {
                    "type": DEVICES.get(kind, kind),
                    "count": count,
                    "memory_gib": _device_memory(where, spot, node["instances"]),
                },
                "memory": {"dram": _dram(where, f"{spot}.cpu_mem", node)},
                **({"power": node_power(where, spot, typed, kind)} if typed.power else {}),
            }
        )
        components[f"{name}.accelerators"] = {
            "model": "profiled",
            "bundle": sources.relative(sources.profiles / kind),
            **({} if profile_format == "current" else {"format": profile_format}),
            **({"flash_attention": 3} if profile_format == "v0" and kind in HOPPER else {}),
            **device_watts(where, spot, typed, kind),
        }
    instances.check_experts()
    links, notes = networks(where, cluster, kinds, instances.splits)
    workload = {"format": "llmservingsim", "path": sources.relative(sources.workload)}
    scenario = {
        "name": sources.target.stem,
        "workload": workload | ({"limit": limit} if limit else {}),
        "cluster": {"nodes": nodes, "networks": links},
        "instances": instances.made,
        "router": {"policy": router},
        "components": components,
    }
    notes += without_effect(cluster)
    notes += [text for node, kind in zip(cluster.nodes, kinds, strict=True) for text in undrawn(node, kind)]
    notes += beside_devices(where, cluster, scenario, flags, instances.names)
    reached = {name for network in links for name in network["connects"]}
    for node in nodes:
        if f"{node['name']}.dram" not in reached:  # nobody asks how much fits
            node["memory"]["dram"].pop("size_gib", None)
    _check_profiles(where, kinds, sources.profiles)
    return Imported(scenario, list(dict.fromkeys(notes)))


class _Instances:
    """The instances of all nodes; members of a data-parallel group become one."""

    def __init__(self, sources: Sources, where: str, flags: Mapping[str, Any]) -> None:
        self._sources, self._where, self._flags = sources, where, flags
        # data-parallel group, or an instance's own name -> the instance, and what members have in common beside
        self._groups: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._experts: list[tuple[str, int, dict[str, Any]]] = []  # where an ep_size stands, it, of which instance
        self.made: list[dict[str, Any]] = []
        self.names: list[list[str]] = []  # of the instances of each node
        self.splits: list[list[tuple[int, int]]] = []  # (tp, pp) of the instances of each node

    def on(self, node: str, i: int, parts: list[dict[str, Any]]) -> int:
        """Take in those of node ``i``; how many devices they take."""
        count = 0
        self.splits.append([])
        self.names.append([])
        for j, part in enumerate(parts):
            spot = f"nodes[{i}].instances[{j}]"
            tp, pp = _parallel(self._where, spot, part)
            self.splits[-1].append((tp, pp))
            self.names[-1].append(f"i{len(self.made)}")
            name, devices = f"i{len(self.made)}", f"{node}[{count}:{count + tp * pp}]"
            made = _instance(self._sources, self._where, spot, part, name, devices, (tp, pp), self._flags)
            group = part.get("dp_group")
            alike = {key: part.get(key) for key in ("hardware", "placement", "pd_type", "dtype")}
            first, others = self._groups.setdefault(name if group is None else f"dp_group {group}", (made, alike))
            if first is made:
                self.made.append(made)
            else:
                _join(self._where, spot, {**first, **others}, {**made, **alike})
                _add_member(first, made)
            if part.get("ep_size") is not None:
                self._experts.append((f"{spot}.ep_size", part["ep_size"], first))
            count += tp * pp
        return count

    def check_experts(self) -> None:
        """Expert-parallel ranks are all of an instance's, or experts are cut: vLLM knows nothing in between."""
        for spot, given, instance in self._experts:
            ranks = instance["tensor_parallel_size"] * instance.get("data_parallel_size", 1)
            if given not in (1, ranks):
                allowed = f"must be 1, or all {ranks} ranks of tp_size x members of its dp_group"
                raise InputError(self._where, spot, given, allowed)


def _hardware(where: str, i: int, parts: list[dict[str, Any]]) -> str:
    """The one kind of device that a node has."""
    kinds = {part.get("hardware") for part in parts}
    if len(kinds) != 1 or None in kinds:
        spot, given = f"nodes[{i}].instances", sorted(map(str, kinds))
        raise InputError(where, spot, given, "one kind of hardware a node is supported")
    return str(kinds.pop())


def _check_profiles(where: str, kinds: list[str], profiles: Path) -> None:
    """Raises InputError for a kind of device of which there is no profile."""
    there = sorted(one.name for one in profiles.iterdir() if one.is_dir()) if profiles.is_dir() else []
    for i, kind in enumerate(kinds):
        if not (profiles / kind).is_dir():
            allowed = f"{did_you_mean(kind, there)}{profiles} has {', '.join(there) or 'no profiles'}"
            raise InputError(where, f"nodes[{i}].instances.hardware", kind, allowed)


def _device_memory(where: str, spot: str, parts: list[dict[str, Any]]) -> float:
    """GiB of one device of a node."""
    sizes = {part["npu_mem"]["mem_size"] for part in parts}
    if len(sizes) > 1:
        allowed = "devices of a node are alike: give one mem_size"
        raise InputError(where, f"{spot}.instances.npu_mem.mem_size", sorted(sizes), allowed)
    size: float = sizes.pop()
    return size


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(), object_pairs_hook=lambda pairs: _once(path, pairs))
    except OSError as error:
        raise InputError(str(path), "cluster config", None, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(str(path), "cluster config", None, f"is not JSON: {error}") from None
    except RecursionError:
        raise InputError(str(path), "cluster config", None, "is nested too deeply") from None
    if not isinstance(data, dict):
        raise InputError(str(path), "cluster config", None, "must be a JSON object")
    return data


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON file. Raises InputError for a key that is there twice, of which one would be lost."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(str(path), key, value, "is there twice in one object")
        found[key] = value
    return found


def _parallel(where: str, spot: str, part: dict[str, Any]) -> tuple[int, int]:
    """(tp, pp) by their inference from what is given."""
    npus, pp = (_same(where, spot, part, *names) for names in (("num_npus", "npu_num"), ("pp_size", "npu_group")))
    tp = part.get("tp_size")
    given = {"tp_size": tp, "pp_size": pp}
    if tp is None:
        tp = max(1, (npus or 1) // (pp or 1))
    if pp is None:
        pp = max(1, (npus or tp) // tp)
    if npus not in (None, tp * pp):
        one = [f", and {name} is {size}" for name, size in given.items() if size is not None]
        what = f" = {tp * pp}" if len(one) == 2 else "".join(one)
        raise InputError(where, f"{spot}.num_npus", npus, f"must equal tp_size x pp_size{what}")
    return int(tp), int(pp)


def _same(where: str, spot: str, part: dict[str, Any], name: str, older: str) -> int | None:
    """A figure that has a newer and an older word. Raises InputError where both are there and differ."""
    new, old = part.get(name), part.get(older)
    if None not in (new, old) and new != old:
        raise InputError(where, f"{spot}.{older}", old, f"is their older word for {name}, which is {new}")
    return new if new is not None else old


#: what the members of a data-parallel group have in common
COMMON = (
    "model",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "engine",
    "enable_expert_parallel",
    "hardware",
    "placement",
    "pd_type",
    "dtype",
)


def _join(where: str, spot: str, first: dict[str, Any], member: dict[str, Any]) -> None:
    """One more member of a data-parallel group: the same but for its devices. Raises InputError."""
    for field in COMMON:
        if first.get(field) != member.get(field):
            raise InputError(where, f"{spot}.{field}", member.get(field), "must be that of the others of its dp_group")


def _add_member(first: dict[str, Any], member: dict[str, Any]) -> None:
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
    model = part.get("model_name")
    if not model or not part.get("npu_mem"):
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
        **({"enable_expert_parallel": True} if _expert_ranks(part, split[0], config) > 1 else {}),
        **({"dtype": _SHORT.get(dtype, dtype)} if dtype else {}),
        "engine": engine,
    }


def _expert_ranks(part: dict[str, Any], tp: int, config: Path) -> int:
    """Their default: all tensor-parallel ranks of a model with experts. Their older configs know none of it."""
    if part.get("ep_size") is not None or "npu_num" in part:
        return int(part.get("ep_size") or 1)
    model = _load(config)
    return tp if any(model.get(field) for field in ("num_local_experts", "num_experts")) else 1


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
    energy = ((node.get("power") or {}).get("dram") or {}).get("energy_per_bit")
    return dram | ({"energy_pj_per_bit": energy} if energy is not None else {})
