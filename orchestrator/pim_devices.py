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

    def room(self, devices: Sequence[Device], copied: int, least: int) -> int:
        """Bytes for K and V beside one of these accelerators, ``copied`` ones being those of its matrices. Raises
        InputError where the latter leave no room for the ``least`` bytes of K and V, if these are here."""
        node, pim = min(self._of(devices), key=lambda found: found[1].size_bytes())
        size, least = pim.size_bytes(), least if self.attend else 0
        if size - copied < least and copied:
            what = f"a copy of the layers' matrices takes {copied / GIB:.2f} GiB beside each accelerator"
            more = f", and a KV block {least / GIB:.4f} GiB" if least else ""
            raise self._refused("gemv", f"{what}{more}: its PIM devices have {size / GIB:.2f} GiB")
        if size < least:
            have = f"the {pim.devices_per_accelerator} PIM devices beside each accelerator of node {node} have"
            need = f"K and V of {self._where} take {least / GIB:.4g} GiB at least"
            have = f"{have} {size / GIB:.4g} GiB for K and V (decode_attention pim)"
            raise InputError("scenario", self._field(node, "size_gib"), pim.size_gib, f"too small: {need}, and {have}")
        return size - copied

    def _field(self, node: str, name: str) -> str:
        return f"cluster.nodes.{list(self._nodes).index(node)}.memory.pim.{name}"

    def _refused(self, field: str, allowed: str) -> InputError:
        return InputError("scenario", f"{self._where}.{field}", "pim", allowed)

    def _of(self, devices: Sequence[Device]) -> list[tuple[str, Pim]]:
        found = []
        for node in dict.fromkeys(node for node, _ in devices):
            pim = self._nodes[node].memory.pim
            if pim is None:
                raise self._refused("decode_attention" if self.attend else "gemv", f"node {node} has no memory.pim")
            given = self._scenario.components.get(f"{node}.pim")
            if pim.size_gib is None and given and given.config.keys() & {"part", "ini"}:
                how = f"needed where components.{node}.pim names the part; or name it as memory.pim.part"
                raise InputError("scenario", self._field(node, "size_gib"), None, how)
            found.append((node, pim))
        return found


__all__ = ("PimDevices",)
