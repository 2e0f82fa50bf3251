"""Several components hosted together, wired to one another."""

from .model import Island

__all__ = ["Island"]
