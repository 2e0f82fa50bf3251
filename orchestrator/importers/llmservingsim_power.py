"""The power section of an LLMServingSim node.

A device draws ``standby_power`` for ``standby_duration`` seconds after work. Parts of the node are summed as they do:
the CPU at its utilisation, or at 70 % while a device of the node works, if that is more (`serving/power_model.py`
there); DIMMs, links, NICs, storage whatever happens.
"""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .llmservingsim_cluster import Node

#: of the CPU while a device works
SERVING = 0.7


def node_power(where: str, spot: str, node: Node, hardware: str) -> dict[str, Any]:
    """A node's ``power``; nothing without a power section. Raises InputError for DIMMs that cannot be counted."""
    power = node.power
    if power is None:
        return {}
    cpu, dram = power.cpu, power.dram
    dimms = int((node.cpu_mem.mem_size or 0) // dram.dimm_size) if dram.dimm_size else 0
    if dram.idle_power and not dimms:
        allowed = "is of a DIMM: needs dimm_size, and cpu_mem.mem_size of at least that"
        raise InputError(where, f"{spot}.power.dram.idle_power", dram.idle_power, allowed)
    idle_w, busy_w = (cpu.idle_power + (cpu.active_power - cpu.idle_power) * u for u in (cpu.util, SERVING))
    parts: dict[str, dict[str, float]] = {
        "cpu": {"idle_w": idle_w, "busy_w": max(idle_w, busy_w)},
        "dram": {"idle_w": dimms * dram.idle_power},
        "links": {"idle_w": power.link.num_links * power.link.idle_power},
        "nics": {"idle_w": power.nic.num_nics * power.nic.idle_power},
        "storage": {"idle_w": power.storage.num_devices * power.storage.idle_power},
    }
    drawing = {name: part for name, part in parts.items() if any(part.values())}
    held = power.npu[hardware].standby_duration if hardware in power.npu else 0
    return {"base_w": power.base_node_power, "parts": drawing, "standby_s": held}


def undrawn(node: Node, hardware: str) -> list[str]:
    """What a reader should know of devices' watts that are never drawn."""
    npu = node.power.npu if node.power else {}
    found = [f"without effect: power.npu.{name}: no device of its node" for name in npu if name != hardware]
    device = npu.get(hardware)
    if device is not None and device.standby_power is not None and not device.standby_duration:
        found.append(f"without effect: power.npu.{hardware}.standby_power: its standby_duration is 0")
    if device is not None and device.standby_power is None and device.standby_duration:
        found.append(f"without effect: power.npu.{hardware}.standby_duration: there is no standby_power")
    return found


def device_watts(where: str, spot: str, node: Node, hardware: str) -> dict[str, float]:
    """A device's watts by its state, as its component is configured; nothing without a power section."""
    if node.power is None:
        return {}
    device = node.power.npu.get(hardware)
    if device is None:
        known = ", ".join(node.power.npu) or "none"
        raise InputError(
            where, f"{spot}.power.npu", None, f"has no {hardware}, which is what the node has; has {known}"
        )
    # What is drawn for no time after work is no state of a device.
    held = device.standby_power if device.standby_power is not None and device.standby_duration > 0 else None
    idle_w = device.idle_power
    return {"idle_w": idle_w, "standby_w": idle_w if held is None else held, "active_w": device.active_power}
