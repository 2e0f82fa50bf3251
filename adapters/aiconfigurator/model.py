"""``aiconfigurator``: kernels and collectives that NVIDIA measured, through aiconfigurator-core 0.12.0.

Provenance is ours: the tool calls everything "silicon", beyond its tables too. It answers whole
engines as well (a step at a time); here it is asked operation by operation, so that the rest of the
step can be somebody else's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from metronome.hwmodels.accelerator.choosing import choosing_bytes
from metronome.hwmodels.base import Config, Estimate, OracleModel
from metronome.hwmodels.interface import (
    Description,
    Feature,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
    Use,
)
from pydantic import Field

from ..tools.environment import python
from ..tools.failure import ToolFailure
from ..tools.lines import shared
from ..tools.progress import SaysProgress

#: Names of the scenario's catalog -> the tool's systems.
SYSTEMS = {
    "h100-sxm": "h100_sxm",
    "h200": "h200_sxm",
    "a100-80g-sxm": "a100_sxm",
    "b200": "b200_sxm",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
}
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"  # it becomes a part of a path in the tool
ELEMENT_BYTES = 2  # collectives were measured on half precision
#: What is asked before time 0, by kind.
_TRIAL = {"gemm": (16,), "moe": (16, 1), "attention": (1, 128, 128, 128, 128, 0)}


class ToolConfig(Config):
    """Which database of the tool."""

    server_side: ClassVar[frozenset[str]] = frozenset({"python"})
    device: str = Field(pattern=NAME, description=f"{', '.join(SYSTEMS)}, or a system of the tool, e.g. gb200")
    backend: Literal["vllm", "sglang", "trtllm"] = "vllm"
    database: str = Field(
        default="current", pattern=NAME, description="version of the backend: current, previous, next"
    )
    python: str | None = Field(
        default=None,
        description="interpreter that has aiconfigurator-core; default: `metronome tools install aiconfigurator`",
        json_schema_extra={"format": "program"},
    )
    timeout_s: float = Field(default=60, gt=0, description="longest silence")


class _Asked(SaysProgress, OracleModel[ToolConfig]):
    """What both kinds share: one process of the tool a session."""

    tools: ClassVar[frozenset[str]] = frozenset({"aiconfigurator"})

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        own = self.config
        worker = str(Path(__file__).with_name("worker.py"))
        interpreter = python("aiconfigurator", own.python)
        self._system = SYSTEMS.get(own.device, own.device)
        self._tool = shared((interpreter, worker, self._system, own.backend, own.database), own.timeout_s)
        self._version = ""

    def _ask(self, what: str, **question: Any) -> Estimate:
        asked = f"aiconfigurator ({self._system}, {self.config.backend}), {what}"
        answer = self._tool.ask(json.dumps(question), asked)
        number, _, source = answer.partition(" ")
        if not number.isdigit() or int(number) == 0:
            raise ToolFailure(asked, f"answered {answer[:80]!r}, which is no time")
        return Estimate(int(number), Provenance(source))

    def _try(self, template: Template, values: tuple[int, ...]) -> None:
        """Ask once before time 0: what was never measured is refused there."""
        try:
            self.estimate(template, values)
        except ToolFailure as error:
            raise UnsupportedOperation(self.description.name, template, str(error)) from None

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {"engine": f"{self.config.backend} {self._tool.ask(json.dumps({'kind': 'version'}), 'its version')}"}


class AiConfigurator(_Asked):
    """One accelerator. Vector operations are the tool's formula of the memory's bandwidth."""

    description = Description(
        name="aiconfigurator",
        kind="accelerator",
        version="1+aiconfigurator-core-0.12.0",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"gemm", "attention", "moe", "norm", "elementwise", "embedding", "sampler"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=5000,
        summary="NVIDIA's measured kernels (metronome tools install aiconfigurator)",
    )

    heeds = frozenset({"sorts", "seeks_from"})

    def check_template(self, template: Template) -> None:
        self._try(template, _TRIAL.get(template.kind, (16,)))

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        at, kind = dict(template.attributes), template.kind
        what = f"{kind} '{template.layer}' {list(values)}"
        if kind == "gemm":
            return self._ask(what, kind=kind, m=max(1, values[0]), n=at["n"], k=at["k"], dtype=at["dtype"])
        if kind == "moe":
            own = {name: at[name] for name in ("hidden", "intermediate", "experts", "top_k", "dtype")}
            return self._ask(what, kind=kind, tokens=max(1, values[0]), tp=at.get("tp", 1), **own)
        if kind == "attention":
            own = {name: at[name] for name in ("heads", "kv_heads", "head_size", "dtype", "kv_dtype")}
            decodes, total = values[:2]
            prompts = [pair for pair in zip(values[4::2], values[5::2], strict=True) if pair[0]]
            if not decodes and not prompts:
                return Estimate(1, Provenance.MODELLED)
            context = round(total / decodes) + 1 if decodes else 0
            return self._ask(what, kind=kind, decodes=decodes, context=context, prompts=prompts, **own)
        rows = max(1, values[0])
        more = round(choosing_bytes(template, values) / (ELEMENT_BYTES * rows))
        return self._ask(what, kind="vector", tokens=rows, width=int(at["width"]) + more)


class AiConfiguratorNetwork(_Asked):
    """Collectives within a node, each alone: no contention."""

    description = replace(
        AiConfigurator.description,
        name="aiconfigurator-network",
        kind="network",
        op_kinds=frozenset({"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}),
        summary="NVIDIA's measured collectives, each alone (metronome tools install aiconfigurator)",
    )

    def check_template(self, template: Template) -> None:
        self._try(template, (1 << 16,))

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        """The tables count elements of the whole vector; of an all-gather, all ranks' shares together."""
        ranks = int(template.attributes["participants"])
        whole = values[0] * (ranks if template.kind == "all_gather" else 1)
        return self._ask(
            f"{template.kind} '{template.layer}' of {values[0]} bytes among {ranks}",
            kind="collective",
            name=template.kind,
            participants=ranks,
            elements=max(1, whole // ELEMENT_BYTES),
        )
