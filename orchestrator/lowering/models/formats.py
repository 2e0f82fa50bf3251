"""How the numbers of a weight matrix are stored, and in which type it is multiplied."""

from __future__ import annotations

from dataclasses import dataclass

from metronome.hwmodels.interface import DTYPE_BYTES


@dataclass(frozen=True, slots=True)
class Format:
    """A matrix stored in ``bits`` a number, with scales.

    Attributes:
        name: the weights' type: ``fp8``, ``int8``, ``int4``, ``fp4``; ``""`` = the model's own, without scales.
        bits: of one number.
        compute: type of the products; ``""`` = the activations' (weight-only formats).
        rows, columns: one scale is for so many outputs x inputs; 0 = for all of them.
        scale_bytes: of one scale, with what comes with it (zero points).
        constant_bytes: of the whole matrix: its tensor-wide scales.
    """

    name: str = ""
    bits: float = 0
    compute: str = ""
    rows: int = 0
    columns: int = 0
    scale_bytes: float = 0
    constant_bytes: int = 0

    def size(self, out: int, into: int, dtype: str) -> float:
        """Bytes of a matrix of ``out`` x ``into`` numbers; ``dtype`` is the model's own."""
        if not self.name:
            return out * into * DTYPE_BYTES[dtype]
        rows = -(-out // self.rows) if self.rows else 1
        columns = -(-into // self.columns) if self.columns else 1
        return out * into * self.bits / 8 + rows * columns * self.scale_bytes + self.constant_bytes


PLAIN = Format()


def fp8(block: tuple[int, int] | None = None, per_channel: bool = False, weight_only: bool = False) -> Format:
    """fp8 (e4m3). A scale of 4 bytes for a tensor (and one for its inputs), an output channel, or a block of both."""
    compute = "" if weight_only else "fp8"
    if block:
        return Format("fp8", 8, compute, block[0], block[1], 4)
    if per_channel:
        return Format("fp8", 8, compute, 1, 0, 4)
    return Format("fp8", 8, compute, constant_bytes=8)


def int8(weight_only: bool = False) -> Format:
    """int8 with a scale an output channel."""
    return Format("int8", 8, "" if weight_only else "int8", 1, 0, 4)


def integer4(group: int, zero_points: bool, bits: int = 4) -> Format:
    """Weight-only integers: a 2-byte scale and, if asymmetric, a packed zero point for each ``group`` inputs."""
    return Format(f"int{bits}", bits, "", 1, group, 2 + (bits / 8 if zero_points else 0))


def mxfp4(weight_only: bool = True) -> Format:
    """OCP microscaling fp4: one scale of 8 bits for 32 numbers (OCP MX v1.0)."""
    return Format("fp4", 4, "" if weight_only else "fp4", 1, 32, 1)


def mxfp8() -> Format:
    """OCP microscaling fp8: one scale of 8 bits for 32 numbers (OCP MX v1.0)."""
    return Format("fp8", 8, "fp8", 1, 32, 1)


def nvfp4(weight_only: bool = False, group: int = 16) -> Format:
    """NVIDIA's fp4: an fp8 scale for 16 numbers, two fp32 scales for the tensor and its inputs."""
    return Format("fp4", 4, "" if weight_only else "fp4", 1, group, 1, 8)


def nf4(double: bool) -> Format:
    """bitsandbytes' 4 bits (Dettmers et al., QLoRA, 2023): fp32 per 64 numbers, or 8 bits and fp32 per 256 of these."""
    return Format("int4", 4, "", 1, 64, 1 + 4 / 256 if double else 4)
