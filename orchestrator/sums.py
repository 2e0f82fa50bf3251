"""Sums of what has equal keys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def by_key(keys: Ints, amounts: Ints) -> tuple[Ints, Ints]:
    """Each key once, ascending, and what all its amounts are together: along the last axis, which is that of the
    keys."""
    if not len(keys):
        return keys, amounts
    order = np.argsort(keys, kind="stable")
    keys, amounts = keys[order], amounts[..., order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[first], np.add.reduceat(amounts, first, axis=-1)
