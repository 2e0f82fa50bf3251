"""``fabric``: a graph of devices, adapters, switches and links, shared fairly by whatever crosses it."""

from .model import Fabric

__all__ = ["Fabric"]
