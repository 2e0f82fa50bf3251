"""What an LLMServingSim set-up has beside its devices: CXL memory, weights placed elsewhere, a second tier of prefixes.

Their flags: ``--prefix-storage`` CPU or CXL keeps what devices' prefix caches hold a second time there, of each
instance, or with ``--enable-prefix-sharing`` of all on a node; a hit there is fetched before the step computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from .llmservingsim_cluster import Cluster, Placement


def beside_devices(
    where: str, cluster: Cluster, scenario: dict[str, Any], flags: Mapping[str, Any], instances: list[list[str]]
) -> list[str]:
    """Adds it to the scenario; returns what a reader should know. ``instances``: their names by node.

    Raises InputError for what is not there, or cannot be said here.
    """
    storage = flags.get("prefix_storage")
    storage = None if storage in (None, "None") else storage
    uses_host = storage == "CPU"
    networks, notes = scenario["cluster"]["networks"], []
    by_name = {one["name"]: one for one in scenario["instances"]}
    for i, node in enumerate(cluster.nodes):
        for j, (name, part) in enumerate(zip(instances[i], node.instances, strict=True)):
            if part.placement is not None and name in by_name:
                placed = _placed(where, f"nodes[{i}].instances[{j}].placement", part.placement, cluster)
                if placed is not None:
                    by_name[name]["weight_offloading"] = placed
                    uses_host |= placed["memory"] == "dram"
    if uses_host:
        for i, node in enumerate(cluster.nodes):
            way = {"bandwidth_gb_s": node.cpu_mem.mem_bw, "latency_ns": 0}
            networks.append({"name": f"host{i}", "connects": [f"n{i}.accelerators", f"n{i}.dram"], **way})
    if cluster.cxl_mem is not None:
        cxl, names = cluster.cxl_mem, [f"cxl{i}" for i in range(cluster.cxl_mem.num_devices)]
        figures = {"bandwidth_gb_s": cxl.mem_bw, "latency_ns": cxl.mem_latency, "size_gib": cxl.mem_size}
        scenario["cluster"]["memories"] = [{"name": name, **figures} for name in names]
        groups = [f"n{i}.accelerators" for i in range(len(cluster.nodes))]
        way = {"bandwidth_gb_s": cxl.mem_bw, "latency_ns": 0}
        networks.append({"name": "cxl", "connects": [*groups, *names], **way})
        notes.append("cxl_mem: a device reaches one at its mem_bw")
    if storage is not None:
        scenario["kv_offloading"] = _second_tier(where, cluster, storage, bool(flags.get("enable_prefix_sharing")))
        notes.append("prefix storage: what goes there takes its time on the way, which is theirs for nothing")
    elif flags.get("enable_prefix_sharing"):
        raise InputError(where, "--enable-prefix-sharing", None, "needs --prefix-storage CPU or CXL, which is shared")
    return notes


def _placed(where: str, spot: str, placement: Placement, cluster: Cluster) -> dict[str, Any] | None:
    """Where weights are, of all layers alike."""
    weights = placement.default.weights or "npu"
    for at, rule in {"default": placement.default, **placement.rules()}.items():
        if rule.kv_loc not in (None, "npu"):
            allowed = "is refused: K and V of running requests are on the device; can be npu"
            raise InputError(where, f"{spot}.{at}.kv_loc", rule.kv_loc, allowed)
        if rule.weights not in (None, weights):
            allowed = f"is refused: all layers' weights are in one place, which default says to be {weights}"
            raise InputError(where, f"{spot}.{at}.weights", rule.weights, allowed)
    if weights == "npu":
        return None
    if weights == "cpu":
        return {"memory": "dram"}
    kind, _, number = weights.partition(":")
    count = cluster.cxl_mem.num_devices if cluster.cxl_mem else 0
    if kind != "cxl" or not number.isdecimal() or int(number) >= count:
        allowed = f"must be npu, cpu, or cxl:N below cxl_mem.num_devices ({count})"
        raise InputError(where, f"{spot}.default.weights", weights, allowed)
    return {"memory": f"cxl{number}"}


def _second_tier(where: str, cluster: Cluster, storage: str, shared: bool) -> dict[str, Any]:
    tier: dict[str, Any] = {"name": "storage"}
    if storage == "CPU":
        most = max(len(node.instances) for node in cluster.nodes)
        sizes = [node.cpu_mem.mem_size for node in cluster.nodes if node.cpu_mem.mem_size is not None]
        tier |= {"memory": "dram", "shared_by": "node" if shared else "instance"}
        if sizes and not shared:
            tier["size_gib"] = min(sizes) / most
    else:
        if cluster.cxl_mem is None:
            raise InputError(where, "--prefix-storage", storage, "needs cxl_mem in the cluster")
        tier |= {"memory": "cxl0", "shared_by": "cluster" if shared else "instance"}
        if not shared:
            tier["size_gib"] = cluster.cxl_mem.mem_size / sum(len(node.instances) for node in cluster.nodes)
    return {"backend": "lmcache", "recall": "blocking", "chunk_blocks": 1, "tiers": [tier]}
