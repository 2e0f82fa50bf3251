"""Execution traces as ASTRA-sim reads them: MLCommons Chakra's schema 0.0.4, written by hand.

A file is a header and nodes, each behind its length as a varint. Field numbers and types are the
contract: an attribute of another type than the reader wants is read as 0, in silence.
"""

from __future__ import annotations

from collections.abc import Mapping

HEADER = b"0.0.4"
COLLECTIVE = 7  # node type
#: Of attributes: field numbers of the types in the schema's oneof.
INT64, BOOL = 9, 27
#: The ones ASTRA-sim models; it takes 1 ns for any other.
KINDS: Mapping[str, int] = {"all_reduce": 0, "all_gather": 2, "all_to_all": 6, "reduce_scatter": 7}


def collective(kind: str, size: int) -> bytes:
    """One rank's trace of one collective; bytes of the whole vector, of an all-gather of one rank's share."""
    node = _text(2, b"n0") + _number(3, COLLECTIVE)
    node += _attribute(b"is_cpu_op", BOOL, 0)
    node += _attribute(b"comm_type", INT64, KINDS[kind])
    node += _attribute(b"comm_size", INT64, size)
    return _delimited(_text(1, HEADER)) + _delimited(node)


def _attribute(name: bytes, field: int, value: int) -> bytes:
    return _text(10, _text(1, name) + _number(field, value))


def _text(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _delimited(value)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _delimited(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
