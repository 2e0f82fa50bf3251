"""Models: from a Hugging Face ``config.json`` to an :class:`Architecture`; one small file a kind of model."""

from __future__ import annotations

from .load import load

__all__ = ["load"]
