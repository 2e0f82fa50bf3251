"""A new adapter, written out: a package that keeps the contract before its first edit."""

from .writer import KINDS, write_adapter

__all__ = ["KINDS", "write_adapter"]
