"""What DRAM parts of every kind have to say of refresh that can be."""

from __future__ import annotations


def check_refresh(rfc: int, refi: int) -> None:
    """Cycles of a refresh of all banks, and from one to the next. Raises ValueError, of the latter, where it takes as
    long as that."""
    if rfc >= refi:
        raise ValueError(f"must be more than tRFC = {rfc}, or there is no time for anything but refresh")
