"""A server's command line as an instance: what its flags set, what has no effect, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from .flags import Flag, read, table
from .variables import Variables


@dataclass(slots=True)
class Server:
    """What one command line starts.

    Attributes:
        where: whose command line it is, for messages.
        instance: fields of the scenario's instance, ``engine`` among them.
        nodes, local_ranks, per_node: over how many nodes it spreads, data-parallel ranks and devices on each;
            0 where it does not say.
        router: how its data-parallel ranks are chosen, where that is not the default.
        kv_transfer: how K and V travel, where it says. kv_tier: what it says of K and V in host memory.
        kv_offloading: the same as a section of the scenario, where the engine's flags cannot say it.
        notes: flags without effect, and why. assumed: what had to be chosen for it.
        part: it is a further node of a server that another command line starts.
        variables: environment variables of its engine; ``known`` are those that something here has looked at.
    """

    where: str
    model: str = ""
    instance: dict[str, Any] = field(default_factory=lambda: {"engine": {}})
    nodes: int = 0
    local_ranks: int = 0
    per_node: int = 0
    router: str = ""
    kv_transfer: dict[str, Any] | None = None
    kv_tier: dict[str, Any] | None = None
    kv_offloading: dict[str, Any] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    part: bool = False
    variables: Variables = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    @property
    def ranks(self) -> int:
        """How many devices it takes."""
        sizes = (self.instance.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline", "data"))
        tensor, pipeline, data = sizes
        return int(tensor * pipeline * data)


Reader = Callable[[Server, Any], None]
Release = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A serving engine's command line.

    Attributes:
        table: name of its table of flags. version: the engine of a scenario that stands for it. versions: all of which
            there is one, for the tags of images.
        readers: what flags mean that are no plain field, by the table's ``reads``.
        expand: words that a file of flags stands for, in its place.
        finish: called when all flags are read.
        variables: environment variables that stand for a flag -> it, and the first release that reads them no more.
    """

    name: str
    table: str
    version: str
    readers: Mapping[str, Reader]
    expand: Callable[[str, list[str], Path], list[str]] = lambda where, words, folder: words
    finish: Callable[[Server], None] = lambda server: None
    versions: tuple[str, ...] = ()
    variables: Mapping[str, tuple[str, Release]] = field(default_factory=dict)

    def server(
        self, where: str, words: list[str], folder: Path, variables: Variables | None = None, release: Release = ()
    ) -> Server:
        """What these words after the tool's own start. ``folder``: from where files that they name are found.

        ``variables`` are those of its environment; ``release`` is the engine's, () where nothing says it.

        Raises InputError for a flag that is unknown, or refused.
        """
        plain, given = read(table(self.table), where, self.expand(where, words, folder))
        if len(plain) > 1:
            raise InputError(where, plain[1], None, f"is a second model beside {plain[0]}; flags begin with dashes")
        server = Server(where, model=plain[0] if plain else "", variables=variables or {})
        for name, (spelling, gone) in self.variables.items():
            flag, text = table(self.table).find(where, spelling)[0], server.variables.get(name)
            if text is None or release >= gone:
                continue
            server.known.add(name)
            if flag in given:
                server.notes[name] = f"{flag.name} is given, too, and wins"
            else:
                given[replace(flag, name=f"{name} ({flag.name})")] = text
        for flag, value in given.items():
            self._take(server, flag, value)
        if not server.model:
            raise InputError(where, "model", None, "is missing")
        self.finish(server)
        return server

    def _take(self, server: Server, flag: Flag, value: Any) -> None:
        said = _said(value)
        listed = not flag.values or said in flag.values
        if flag.nothing:
            server.notes[flag.name] = flag.nothing
        elif flag.wrong and not flag.sets and not (value is False or (flag.values and listed)):
            raise InputError(server.where, flag.name, None if value is True else value, f"is refused: {flag.wrong}")
        elif flag.wrong and flag.sets and not listed:
            allowed = f"is refused: {flag.wrong}; can be {', '.join(map(str, flag.values))}"
            raise InputError(server.where, flag.name, value, allowed)
        elif flag.reads:
            self.readers[flag.reads](server, value)
        elif flag.sets:
            put(server.instance, flag.sets, value)
        else:
            server.notes[flag.name] = "is what is simulated anyway"


def put(instance: dict[str, Any], path: str, value: Any) -> None:
    """Set a field of the instance, or one of its engine (``engine.name``)."""
    *parents, last = path.split(".")
    spot = instance
    for parent in parents:
        spot = spot.setdefault(parent, {})
    spot[last] = value


def whole_experts(server: Server) -> None:
    """Expert-parallel ranks, as both SGLang and TensorRT-LLM count them: all of the tensor-parallel ones, or one."""
    experts, ranks = server.instance.pop("expert_ranks", 1), server.instance.get("tensor_parallel_size", 1)
    if experts not in (1, ranks):
        allowed = f"is refused: experts are whole on each of the {ranks} tensor-parallel ranks, or cut over all"
        raise InputError(server.where, "--ep-size", experts, f"{allowed}; can be 1 or {ranks}")
    if experts > 1:
        server.instance["enable_expert_parallel"] = True


def _said(value: Any) -> str:
    """A value as a table writes it."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)
