"""``aiconfigurator``: NVIDIA's measured kernels and collectives, answered by its own engine."""

from .model import AiConfigurator, AiConfiguratorNetwork

__all__ = ["AiConfigurator", "AiConfiguratorNetwork"]
