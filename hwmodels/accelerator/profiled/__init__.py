"""``profiled``: layer times measured on a real device, looked up and interpolated."""

from .model import Profiled

__all__ = ["Profiled"]
