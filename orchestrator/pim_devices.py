"""PIM devices beside an instance's accelerators: which they are, and what room K and V have in them."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import InputError
from .lowering.layout import Device
from .scenario.memory import Pim
from .scenario.schema import Scenario
from .units import GIB


class PimDevices:
    """Of the instance numbered ``index``: whatever its ``decode_attention`` and its ``gemv`` leave to PIM devices."""

    def __init__(self, scenario: Scenario, index: int) -> None:
        self._scenario, self._where = scenario, f"instances.{index}"
        options = scenario.instances[index]
        self.attend, self.multiply = options.decode_attention == "pim", options.gemv == "pim"
        self._nodes = {node.name: node for node in scenario.cluster.nodes}

    def check(self, devices: Sequence[Device], whole: bool, ffn: bool, off_device: bool) -> None:
        """Raises InputError where they cannot do what they are asked to. ``whole``: the instance prefills and decodes,
        ``ffn``: it has its experts elsewhere, ``off_device``: weights come to its accelerators in every step."""
        if self.attend or self.multiply:
            self._of(devices)
        if self.attend and (not whole or ffn):
            raise self._refused("decode_attention", "goes with role both and without ffn")
        if self.multiply and ffn:
            raise self._refused("gemv", "goes without ffn")
        if self.multiply and off_device:
            raise self._refused(
                "gemv", "goes without weights off the devices: matrices that PIM devices hold are there"
            )

    def room(self, devices: Sequence[Device], copied: int, block: int) -> int:
        """Bytes for K and V beside one of these accelerators, ``copied`` ones being those of its matrices. Raises
        InputError where the latter leave no room for a KV block of ``block`` bytes, if K and V are here."""
        size = min(pim.size_bytes() for pim in self._of(devices))
        least = block if self.attend else 0
        if copied and size - copied < least:
            what = f"a copy of the layers' matrices takes {copied / GIB:.2f} GiB beside each accelerator"
            more = f", and a KV block {block / GIB:.4f} GiB" if least else ""
            raise self._refused("gemv", f"{what}{more}: its PIM devices have {size / GIB:.2f} GiB")
        return size - copied

    def _refused(self, field: str, allowed: str) -> InputError:
        return InputError("scenario", f"{self._where}.{field}", "pim", allowed)

    def _of(self, devices: Sequence[Device]) -> list[Pim]:
        found = []
        for node in dict.fromkeys(node for node, _ in devices):
            pim = self._nodes[node].memory.pim
            if pim is None:
                raise self._refused("decode_attention" if self.attend else "gemv", f"node {node} has no memory.pim")
            given = self._scenario.components.get(f"{node}.pim")
            if pim.size_gib is None and given and given.config.keys() & {"part", "ini"}:
                where = f"cluster.nodes.{node}.memory.pim.size_gib"
                how = f"needed where components.{node}.pim names the part; or name it as memory.pim.part"
                raise InputError("scenario", where, None, how)
            found.append(pim)
        return found


__all__ = ("PimDevices",)
