"""``composite``: several models as one accelerator, by kind of operation. Most simulators do GEMMs and nothing else.

    components:
      n0.accelerators:
        model: composite
        parts:
          gemm: {model: scalesim, rows: 128, columns: 128}
          else: {model: roofline}

A part is a name, or a model with its configuration. What the scenario knows of the device is handed to each that has a
field for it. Parts know nothing of one another: each is a model without a clock, asked for its own operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar

from metronome.hwmodels.base import Config, Model
from metronome.hwmodels.interface import (
    Advanced,
    Completion,
    ConfigError,
    Description,
    Feature,
    Operation,
    Template,
    TimePolicy,
    UnsupportedOperation,
    Use,
    check_operation,
)
from pydantic import Field, field_validator

KINDS = ("gemm", "attention", "moe", "state", "norm", "elementwise", "embedding", "sampler")
ELSE = "else"
HANDED_ON = ("device", "idle_w", "active_w", "timeout_s")


class CompositeConfig(Config):
    """Who does what."""

    server_side: ClassVar[frozenset[str]] = frozenset({"parts"})
    parts: dict[str, dict[str, Any]] = Field(
        min_length=1,
        description=f"by kind ({', '.join(KINDS)}; {ELSE}: all that are not named): a model and its configuration",
        json_schema_extra={"format": "models"},
    )
    device: str | dict[str, Any] | None = Field(default=None, description="handed to parts that have such a field")
    idle_w: float | None = Field(default=None, description="as device")
    active_w: float | None = Field(default=None, description="as device")
    timeout_s: float | None = Field(default=None, gt=0, description="as device")

    @field_validator("parts", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {kind: {"model": part} if isinstance(part, str) else part for kind, part in given.items()}

    @field_validator("parts")
    @classmethod
    def _known(cls, parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for kind, part in parts.items():
            if kind not in (*KINDS, ELSE):
                raise ValueError(f"{kind!r} is no kind of operation: {', '.join((*KINDS, ELSE))}")
            if not isinstance(part.get("model"), str):
                raise ValueError(f"{kind}: which model? a name, or model: NAME with its configuration")
        return parts


class Composite(Model[CompositeConfig]):
    """One accelerator, each operation by the part of its kind."""

    description = Description(
        name="composite",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset(KINDS),
        features=frozenset({Feature.PROGRESS, Feature.ACCOUNTS}),
        max_batch_ops=5000,
        summary="several models as one accelerator, by kind of operation",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._parts = {kind: self._made(kind, part) for kind, part in self.config.parts.items()}

    @staticmethod
    def models(config: Mapping[str, Any]) -> list[Any]:
        """The classes of a configuration's parts: what its answers depend on beside its own code."""
        return [model_of(kind, part) for kind, part in CompositeConfig.model_validate(dict(config)).parts.items()]

    def _made(self, kind: str, part: Mapping[str, Any]) -> Any:
        found = model_of(kind, part)
        fields = found.config_schema().get("properties", {})
        handed = {name: getattr(self.config, name) for name in HANDED_ON if name in fields}
        config = {name: value for name, value in (handed | dict(part)).items() if value is not None}
        return made(f"parts.{kind}", found, config, self.seed)

    def _part(self, template: Template) -> Any:
        part = self._parts.get(template.kind, self._parts.get(ELSE))
        if part is None:
            named = ", ".join(self._parts)
            raise UnsupportedOperation(self.description.name, template, f"parts are {named}; give {ELSE}, too")
        return part

    def declare(self, templates: Sequence[Template]) -> None:
        for template in templates:
            if template.kind not in KINDS:
                raise UnsupportedOperation(self.description.name, template, f"it does {', '.join(KINDS)}")
            self._part(template).declare([template])
            self.templates[template.id] = template

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        of: dict[int, list[Operation]] = {}
        parts = {id(part): part for part in self._parts.values()}
        for operation in operations:
            of.setdefault(id(self._part(check_operation(operation, self.templates))), []).append(operation)
        done: dict[int, Completion] = {}
        for key, asked in of.items():
            most = parts[key].description.max_batch_ops
            for start in range(0, len(asked), most):
                answer = parts[key].advance(grant_ps, asked[start : start + most], stop_at_first_completion)
                done.update((completion.op_id, completion) for completion in answer.completions)
        return Advanced(grant_ps, tuple(done[one.op_id] for one in operations if one.op_id in done))

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """Each part's, by the kind it stands behind; ``relative_error`` the worst of all, by provenance."""
        found, errors = {}, dict[str, float]()
        for kind, part in self._parts.items():
            accounts = part.description.features & {Feature.ACCOUNTS, Feature.TYPICAL}
            own = [use for use in uses if accounts and self._part(self.templates[use.template]) is part]
            found[kind] = {"model": part.description.name, **part.statistics(own)}
            for provenance, error in found[kind].pop("relative_error", {}).items():
                errors[provenance] = max(error, errors.get(provenance, 0.0))
        return {"parts": found, **({"relative_error": errors} if errors else {})}


def named(field: str, name: str) -> Any:
    """The class of a model: a name of the entry points, or module:Class. Raises ConfigError of that field."""
    module, colon, attribute = name.partition(":")
    try:
        if colon:
            found = getattr(import_module(module), attribute)
        else:
            (entry,) = entry_points(group="metronome.components", name=name)
            found = entry.load()
        _ = found.description
    except (ImportError, AttributeError, ValueError) as error:
        why = "no model of that name" if isinstance(error, ValueError) else str(error)
        raise ConfigError(field, name, f"{why}; `metronome components` lists them") from None
    return found


def made(where: str, model: Any, config: Mapping[str, Any], seed: int) -> Any:
    """One of that class; of ``config`` all but the model's name. Raises ConfigError, of a field under ``where``."""
    try:
        return model({name: value for name, value in config.items() if name != "model"}, seed)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error.field}", error.value, error.allowed) from None


def model_of(kind: str, part: Mapping[str, Any]) -> Any:
    """The class of a part's model. Raises ConfigError."""
    name = str(part["model"])
    found = named(f"parts.{kind}.model", name)
    described = found.description
    if described.kind != "accelerator":
        raise ConfigError(f"parts.{kind}.model", name, f"models a piece of {described.kind}, not an accelerator")
    if described.time_policy is not TimePolicy.ORACLE or not described.memoryless:
        raise ConfigError(f"parts.{kind}.model", name, "has a clock or a memory: parts are asked, never stepped")
    return found
