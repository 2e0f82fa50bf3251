"""What an engine is made from, and what makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .host_costs import HostCosts
from .interface import AdmissionPolicy, Engine, Role, VictimPolicy
from .kv.groups import KvGroup
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
        seed: of what it draws, if it draws anything.
        async_scheduling: the next step is scheduled while one is in flight, before its tokens are known.
        kv_groups: of layers, where some keep fewer tokens than others; a block then holds the tokens of one group.
        encoder_tokens: of images that are encoded in a step at most; 0 = images cannot be served.
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
    seed: int = 0
    async_scheduling: bool = False
    kv_groups: tuple[KvGroup, ...] = ()
    encoder_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """What an engine finds when it starts: tokens a request may have, what the model allows, the KV blocks that fit the
    memory, how many of them a request as long as it may be takes, what it does of a request, and of how many tokens a
    block is a multiple."""

    max_model_len: int
    max_positions: int
    blocks: int
    longest: int
    role: str = Role.BOTH.value
    block_step: int = 16


StartRule = Callable[[Any, Start], tuple[str, object, str] | None]


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What defaults depend on: the accelerator's name and memory, and the longest request the model takes."""

    name: str
    memory_bytes: int
    max_model_len: int
    ranks: int = 1  # of a tensor- and pipeline-parallel group


def _plain(options: EngineOptions, device: DeviceFacts) -> EngineOptions:
    """The same limits on every device."""
    change = {
        "max_num_seqs": options.max_num_seqs or 256,
        "max_num_batched_tokens": options.max_num_batched_tokens or 8192,
    }
    return options.model_copy(update=change)


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One kind of engine: its flags, how one is made, its host work where no file of ours has it, what it takes where
    flags are left open (``resolve``), and which flag keeps it from starting, its value and what is allowed
    (``refuse_start``; None if nothing does). ``hybrid_kv_cache``: it heeds `EngineSpec.kv_groups`, ``encodes_images``:
    `EngineSpec.encoder_tokens`. ``recalls``: its connector may be a `RecallingConnector`."""

    options: type[EngineOptions]
    make: Callable[[EngineSpec], Engine]
    costs: HostCosts | None = None
    resolve: Callable[[EngineOptions, DeviceFacts], EngineOptions] = _plain
    refuse_start: StartRule = lambda options, start: None
    hybrid_kv_cache: bool = False
    encodes_images: bool = False
    recalls: bool = False
