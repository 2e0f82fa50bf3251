"""SGLang's scheduler, by version."""

from __future__ import annotations

from ..spec import EngineKind
from .engine import SglangEngine
from .options import SglangOptions, resolve

KIND = EngineKind(options=SglangOptions, make=SglangEngine, resolve=resolve)
