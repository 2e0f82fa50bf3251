"""The power section of an LLMServingSim node.

What it draws whatever happens is summed as they do: base, CPU at its utilisation, DIMMs, links, NICs, storage. That the
CPU goes to 70 % while a device works is a rule of theirs, not of the file, and is not followed. A device stays at
``standby_power`` for ``standby_duration`` seconds after work; gaps between steps are milliseconds, so that is what it
is taken to draw whenever it does not work.
"""

from __future__ import annotations

from ..errors import InputError
from .llmservingsim_cluster import DevicePower, Node, Power


def base_watts(node: Node) -> float:
    """What a node draws whatever it does, accelerators apart, W."""
    power = node.power or Power()
    cpu, dram = power.cpu, power.dram
    dimms = int((node.cpu_mem.mem_size or 0) // dram.dimm_size) if dram.dimm_size else 0
    return (
        power.base_node_power
        + cpu.idle_power
        + (cpu.active_power - cpu.idle_power) * cpu.util
        + dimms * dram.idle_power
        + power.link.num_links * power.link.idle_power
        + power.nic.num_nics * power.nic.idle_power
        + power.storage.num_devices * power.storage.idle_power
    )


def device_watts(where: str, spot: str, node: Node, hardware: str) -> dict[str, float]:
    """A device's ``idle_w`` and ``active_w``, as its component is configured; nothing without a power section."""
    if node.power is None:
        return {}
    device = node.power.npu.get(hardware)
    if device is None:
        known = ", ".join(node.power.npu) or "none"
        raise InputError(
            where, f"{spot}.power.npu", None, f"has no {hardware}, which is what the node has; has {known}"
        )
    held = _held(device)
    return {"idle_w": device.idle_power if held is None else held, "active_w": device.active_power}


def note(node: Node, hardware: str) -> str | None:
    """What a reader of the scenario should know of it."""
    device = node.power.npu.get(hardware) if node.power else None
    held = None if device is None else _held(device)
    if device is None or held is None:
        return None
    return (
        f"{hardware} draws its standby_power of {held:g} W whenever it does not work: "
        f"a gap longer than standby_duration ({device.standby_duration:g} s) is not told apart"
    )


def _held(device: DevicePower) -> float | None:
    """What it draws after work, W; None if it falls idle at once."""
    return device.standby_power if device.standby_duration > 0 else None
