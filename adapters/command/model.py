"""A command-line tool that is asked for one operation at a time: command, files, and how to read the answer.

    components:
      n0.accelerators:
        model: metronome.adapters.command:Accelerator
        kinds: [gemm, norm, ...]
        command: [my-simulator, --m, "{m}", --n, "{n}", --k, "{k}"]
        value: 'total cycles: (?P<value>[0-9]+)'
        unit: cycles
        clock_mhz: 1000

Placeholders are the operation's numbers and attributes by name, `{kind}`, `{layer}`, and `{values}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from metronome.hwmodels.base import ALTERATIONS, Config, Estimate, OracleModel
from metronome.hwmodels.interface import (
    OPERATION_VALUES,
    Description,
    Feature,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
)
from pydantic import Field, field_validator, model_validator

from ..tools.failure import ToolFailure, there
from ..tools.files import read_number, run
from ..tools.progress import SaysProgress

PS = {"ps": 1.0, "ns": 1e3, "us": 1e6, "ms": 1e9, "s": 1e12}


class CommandConfig(Config):
    """How the tool is run and read. ``refuse``: output that matches means failure, whatever the exit code."""

    server_side: ClassVar[frozenset[str]] = frozenset(
        {"command", "inputs", "value", "refuse", "ok_exit_codes", "keep_scratch"}
    )
    command: list[str] = Field(min_length=1, json_schema_extra={"format": "command"})
    kinds: list[str] | None = Field(default=None, description="operations it can do; default: all of this kind")
    inputs: dict[str, str] = Field(
        default={}, description="files of its scratch folder: name -> text with placeholders"
    )
    value: str = Field(
        description="regular expression with a group named value; the tool may also write a file `output`"
    )
    unit: Literal["ps", "ns", "us", "ms", "s", "cycles"] = "ns"
    clock_mhz: float | None = Field(default=None, gt=0)
    ok_exit_codes: list[int] = [0]
    refuse: str | None = None
    timeout_s: float = Field(default=60, gt=0, description="for one operation")
    keep_scratch: bool = False

    @field_validator("value", "refuse")
    @classmethod
    def _compiles(cls, text: str | None) -> str | None:
        try:
            re.compile(text or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return text

    @model_validator(mode="after")
    def _fits(self) -> CommandConfig:
        if "(?P<value>" not in self.value:
            raise ValueError("value needs a group named value: (?P<value>...)")
        if (self.unit == "cycles") != (self.clock_mhz is not None):
            raise ValueError("clock_mhz goes with unit: cycles")
        return self


class Command(SaysProgress, OracleModel[CommandConfig]):
    """What the four kinds have in common. An answer of the tool counts as modelled."""

    heeds = frozenset(ALTERATIONS)  # the tool is given every attribute

    description: ClassVar[Description]

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        own = self.config
        if "{" not in own.command[0]:
            there("command", own.command[0])
        self._value = re.compile(own.value)
        self._refuse = re.compile(own.refuse) if own.refuse else None
        self._unit_ps = 1e6 / own.clock_mhz if own.clock_mhz else PS[own.unit]

    def check_template(self, template: Template) -> None:
        if self.config.kinds is not None and template.kind not in self.config.kinds:
            raise UnsupportedOperation(self.description.name, template, f"kinds are {', '.join(self.config.kinds)}")
        names = _names(template, (0,) * len(OPERATION_VALUES[template.kind]))
        for text in (*self.config.command, *self.config.inputs.values()):
            try:
                text.format_map(names)
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                known = ", ".join(names)
                raise UnsupportedOperation(
                    self.description.name, template, f"{text!r}: {error}; there is {known}"
                ) from None

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        own, names = self.config, _names(template, values)
        asked = f"{template.kind} '{template.layer}' {list(values)}"
        command = [part.format_map(names) for part in own.command]
        inputs = {name: text.format_map(names) for name, text in own.inputs.items()}
        ran = run(command, inputs, asked, own.timeout_s, own.ok_exit_codes, own.keep_scratch, ["output"])
        output = ran.printed + ran.files.get("output", "")
        if self._refuse and (match := self._refuse.search(output)):
            raise ToolFailure(asked, f"{own.command[0]} says {match[0]!r}", output)
        number = read_number(output, self._value, asked)
        return Estimate(max(1, round(number * self._unit_ps)), Provenance.MODELLED)


def _names(template: Template, values: tuple[int, ...]) -> Mapping[str, Any]:
    """What placeholders may name."""
    listed = " ".join(map(str, values))
    numbers = dict(zip(OPERATION_VALUES[template.kind], values, strict=False))
    return {**template.attributes, **numbers, "kind": template.kind, "layer": template.layer, "values": listed}


def _description(kind: str, *op_kinds: str) -> Description:
    return Description(
        name=f"command-{kind}",
        kind=kind,
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset(op_kinds),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=512,
        summary="a command-line tool, by configuration",
    )


class Accelerator(Command):
    """A tool that simulates an accelerator."""

    description = _description("accelerator", "gemm", "attention", "moe", "norm", "elementwise", "embedding", "sampler")


class Pim(Command):
    """A tool that simulates processing in memory."""

    description = _description("pim", "attention")


class Memory(Command):
    """A tool that simulates a memory."""

    description = _description("memory", "read", "write", "copy")


class Network(Command):
    """A tool that simulates a network; it is asked for operations alone, so it sees no contention."""

    description = replace(
        _description("network", "send", "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"),
        summary="a command-line tool, by configuration; no contention",
    )
