"""What a scenario does not say leaves its digest as it was before it could be said."""

from __future__ import annotations

from typing import Any

#: fields of a memory that every scenario with host memory had from the beginning
FIRST = ("size_gib", "bandwidth_gb_s", "latency_ns", "energy_pj_per_bit")

#: SGLang's flags of graphs
GRAPHS = {"cuda_graph_bs": None, "cuda_graph_max_bs": None, "disable_cuda_graph_padding": False}


def leave_out_unset(data: dict[str, Any]) -> None:
    """Takes fields that came later and are not used out of a dumped scenario."""
    for key in ("calibration", "kv_offloading"):
        if data[key] is None:
            del data[key]
    for instance in data["instances"]:
        if instance["gemv"] == "accelerator":
            del instance["gemv"]
        if instance["weight_offloading"] is None:
            del instance["weight_offloading"]
        elif instance["weight_offloading"]["prefetch_step"] is None:
            instance["weight_offloading"]["prefetch_step"] = 1  # its default
        if instance["engine"].get("sampling", 0) is None:
            del instance["engine"]["sampling"]
        if instance["engine"].get("cpu_offload_gb", 1) == 0:
            del instance["engine"]["cpu_offload_gb"]
        for name, unsaid in GRAPHS.items():
            if instance["engine"].get(name, "") == unsaid:
                del instance["engine"][name]
        if instance["engine"].get("kv_offloading_size", 0) is None:
            del instance["engine"]["kv_offloading_size"], instance["engine"]["kv_offloading_backend"]
    for device in data["devices"].values():
        if device["platform"] is None:
            del device["platform"]
    if data["cluster"]["electricity"] is None:
        del data["cluster"]["electricity"]
    for key in ("memories", "racks"):
        if not data["cluster"][key]:
            del data["cluster"][key]
    for node in data["cluster"]["nodes"]:
        for key, default in (
            ("parts", {}),
            ("standby_s", None),
            ("accelerator_cap_w", None),
            ("cap_w", None),
            ("psu_efficiency", 1),
        ):
            if node["power"][key] == default:
                del node["power"][key]
        memory = node["memory"]
        for kind in ("cxl", "nvme"):
            if memory[kind] is None:
                del memory[kind]
        if memory["dram"] is not None:
            memory["dram"] = _host_memory(memory["dram"])


def _host_memory(dram: dict[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in dram.items() if value is not None or key in FIRST}
    if said["latency_ns"] is None and "type" not in said and "loaded_latency" not in said:
        said["latency_ns"] = 0.0  # its default
    return said
