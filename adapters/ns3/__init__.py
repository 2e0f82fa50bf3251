"""``ns3``: a network simulated packet by packet."""

from .model import Ns3

__all__ = ["Ns3"]
