"""vLLM's engine core (V1), by version."""

from __future__ import annotations

from ..spec import EngineKind
from .defaults import resolve
from .engine import VllmEngine
from .options import VllmOptions
from .start import refuse_start

KIND = EngineKind(
    options=VllmOptions,
    make=VllmEngine,
    resolve=resolve,
    refuse_start=refuse_start,
    hybrid_kv_cache=True,
    encodes_images=True,
    recalls=True,
)
