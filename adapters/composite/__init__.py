"""Several models as one accelerator, by kind of operation."""

from .model import Composite

__all__ = ["Composite"]
