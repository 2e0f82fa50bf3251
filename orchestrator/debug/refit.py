"""Other hardware from an event on: a component is replaced by one of another configuration between two operations.

That is sound where the component owes nothing and remembers nothing (or has never been asked), and where nothing but
components follows from the change: what engines have (KV blocks, say) was counted before the first event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from ..coupling.components import ComponentSpec, asked_by_one
from ..coupling.link import Link
from ..coupling.memory_energy import per_bit
from ..errors import InputError
from ..lowering.work import Templates
from ..placement import place
from ..record.link import TapedLink
from ..scenario.loading import override, parse_overrides, validate
from ..scenario.schema import Scenario
from ..simulation import Simulation
from ..source import Source

HARDWARE = ("cluster", "components", "devices")


class Components(Protocol):
    """Where components that an edit changes come from."""

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        """Every component of the scenario. Raises InputError, also where there are none."""
        ...

    def of(self, edit: int, specs: Sequence[ComponentSpec]) -> Mapping[str, Link]:
        """Links to components so specified, for the edit of that number. Raises InputError, ComponentFailure."""
        ...


class Started:
    """Components that were started for edits: each once, however often the run passes there."""

    def __init__(self, source: Source | None) -> None:
        self._source = source
        self._links: dict[int, Mapping[str, Link]] = {}
        self._stack = ExitStack()

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        if self._source is None:
            raise InputError("debugger", "set", None, "a recording has no components to go on with; debug the scenario")
        return self._source.specify(scenario, folder)

    def of(self, edit: int, specs: Sequence[ComponentSpec]) -> Mapping[str, Link]:
        if edit not in self._links:
            if self._source is None:
                raise AssertionError("they were specified")
            self._links[edit] = self._stack.enter_context(self._source.open(specs))
        return self._links[edit]

    def close(self) -> None:
        self._stack.close()


class Trial:
    """Sessions of the same components, to see whether an edit can be made."""

    def __init__(self, started: Started) -> None:
        self._started = started

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        return self._started.specify(scenario, folder)

    def of(self, edit: int, specs: Sequence[ComponentSpec]) -> Mapping[str, Link]:
        return {name: link.again() for name, link in self._started.of(edit, specs).items()}


def refit(simulation: Simulation, edit: int, path: str, value: str, components: Components) -> None:
    """Raises InputError for what cannot be changed here, and says why; ComponentFailure."""
    content = simulation.scenario.model_dump(mode="json", exclude_unset=True)
    override(content, parse_overrides([f"{path}={value}"]))
    scenario = validate(content, "debugger")
    units = place(scenario, simulation.inputs, Templates())
    for before, after in zip(simulation.units, units, strict=True):
        if (before.names, before.blocks, before.max_model_len) != (after.names, after.blocks, after.max_model_len):
            allowed = (
                f"changes the past: {before.name} has had {before.blocks} KV blocks since event 1, not {after.blocks}"
            )
            raise InputError("debugger", path, value, allowed)
    specs = components.specify(scenario, simulation.inputs.folder)
    changed = [spec for spec in specs if spec not in simulation.specs]
    asked = asked_by_one(specs)
    for spec in changed:
        if asker := asked.get(spec.name):
            allowed = f"is asked by {asker} alone, which goes on with the one it has; `why N with {path}=...` runs anew"
            raise InputError("debugger", path, value, allowed)
        _check(simulation, spec.name, path, value)
    places = {spec.name.partition(".")[0] for spec in changed}
    links = components.of(edit, [spec for spec in specs if spec.name.partition(".")[0] in places])
    for spec in changed:
        root = simulation.ports.root(spec.name)
        if not isinstance(root, TapedLink):
            raise AssertionError("a session's links are all taped")
        if not simulation.ports.replace(spec.name, root.succeeded_by(links[spec.name])):
            allowed = f"{spec.name} would share its clock otherwise than it has since event 1"
            raise InputError("debugger", path, value, allowed)
    simulation.ports.memories.become(per_bit(scenario.cluster))
    simulation.scenario, simulation.specs = scenario, specs


def _check(simulation: Simulation, name: str, path: str, value: str) -> None:
    owed = simulation.ports.open_operations(name)
    if owed:
        allowed = f"changes the past: operation {owed[0]['op']} has been on {name} since event {owed[0]['cause']}"
        raise InputError("debugger", path, value, f"{allowed}; set it before that event, or when it is done")
    for link in simulation.ports.links(name):
        if isinstance(link, TapedLink) and not link.description.memoryless and link.position > 1:
            first = link.first_event
            allowed = (
                f"changes the past: {name} remembers what it has done since event {first}; set it before that event"
            )
            raise InputError("debugger", path, value, allowed)
