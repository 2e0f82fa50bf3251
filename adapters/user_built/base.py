"""What these adapters share: one run of the program an answer, in a scratch folder, remembered while we live."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from metronome.hwmodels.base import Config, OracleModel
from metronome.hwmodels.interface import ConfigError
from pydantic import Field

from ..tools.failure import ToolFailure, there
from ..tools.files import Ran, run
from ..tools.progress import SaysProgress


class ToolConfig(Config):
    """The program, and its limits."""

    server_side: ClassVar[frozenset[str]] = frozenset({"program", "keep_scratch"})
    program: str = Field(
        description="path of the built simulator, or its name on the PATH", json_schema_extra={"format": "program"}
    )
    timeout_s: float = Field(default=600, gt=0, description="for one run")
    keep_scratch: bool = Field(default=False, description="leave the folders of its runs, to look at")


T = TypeVar("T", bound=ToolConfig)


class Tool(SaysProgress, OracleModel[T]):
    """A model whose answers are runs of a program."""

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        there("program", self.config.program)
        self._known: dict[object, float] = {}

    def _run(
        self,
        asked: str,
        arguments: Sequence[str],
        inputs: Mapping[str, str | bytes],
        outputs: Sequence[str] = (),
        ok: Sequence[int] | None = (0,),
        program: str | None = None,
    ) -> Ran:
        own = self.config
        command = [program or own.program, *arguments]
        return run(command, inputs, asked, own.timeout_s, ok, own.keep_scratch, outputs)


def read(path: Path) -> str:
    """The text of a file the configuration names as `config`. Raises ConfigError."""
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError("config", str(path), f"cannot be read: {error.strerror}") from None


def only_number(text: str, pattern: str, asked: str) -> int:
    """The one positive whole number behind a pattern's group. Raises ToolFailure for none, several or 0."""
    found = set(re.findall(pattern, text, re.M))
    if len(found) != 1:
        raise ToolFailure(asked, f"{len(found)} values of {pattern!r} in the output, not one", text)
    number = int(found.pop())
    if number <= 0:
        raise ToolFailure(asked, f"{pattern!r} is 0: the tool counts nothing where it has failed", text)
    return number
