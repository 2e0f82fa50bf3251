"""What an engine is made from, and what makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .host_costs import HostCosts
from .interface import AdmissionPolicy, Engine, Role, VictimPolicy
from .options import EngineOptions


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine of a scenario, worked out.

    Attributes:
        name: what it is called in messages and results.
        options: the scenario's ``engine`` section: flags by vLLM's names, as attributes.
        num_blocks: KV blocks that fit beside weights and working memory.
        max_model_len: tokens a request may have, prompt and output.
        slots: steps that may be in flight at once: pipeline stages, or micro-batches.
        first_log: number of the step log of its first slot; the others' follow.
        async_scheduling: the next step is scheduled while one is in flight, before its tokens are known.
        admission, victims: policies where the scenario names them; None leaves it to the engine's own.
    """

    name: str
    options: Any
    num_blocks: int
    max_model_len: int
    slots: int = 1
    first_log: int = 0
    role: Role = Role.BOTH
    admission: AdmissionPolicy | None = None
    victims: VictimPolicy | None = None
    async_scheduling: bool = False


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One kind of engine: its flags, how one is made, and its host work where no file of ours has it."""

    options: type[EngineOptions]
    make: Callable[[EngineSpec], Engine]
    costs: HostCosts | None = None
