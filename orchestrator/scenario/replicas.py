"""Replicas of an instance: the same several times, each with as many of its accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .schema import Instance


def written_out(instance: Instance) -> list[Instance]:
    """The replicas of an instance, with as many of its accelerators each. Raises ValueError."""
    if instance.replicas == 1:
        return [instance]
    found = []
    shares = {"": _shares(instance, "accelerators", instance.devices)}
    if instance.ffn:
        shares["ffn"] = _shares(instance, "ffn.accelerators", instance.ffn.devices)
    for number in range(instance.replicas):
        change: dict[str, Any] = {
            "name": f"{instance.name}-{number}",
            "replicas": 1,
            "accelerators": shares[""][number],
        }
        if instance.ffn:
            change["ffn"] = instance.ffn.model_copy(update={"accelerators": shares["ffn"][number]})
        found.append(instance.model_copy(update=change))
    return found


def _shares(instance: Instance, field: str, devices: list[tuple[str, int]]) -> list[list[str]]:
    """Equal parts of accelerators, in their order."""
    size, left = divmod(len(devices), instance.replicas)
    if left or not size:
        raise ValueError(f"{instance.name}: {instance.replicas} replicas cannot share {len(devices)} {field} evenly")
    parts = [devices[first : first + size] for first in range(0, len(devices), size)]
    return [[f"{node}[{number}]" for node, number in part] for part in parts]
