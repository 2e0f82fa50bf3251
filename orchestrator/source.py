"""Where the components of a run come from: they are started for it, or something else stands for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

from .coupling.components import ComponentSpec, open_local, specify
from .coupling.link import Link
from .scenario.schema import Scenario


class Source(Protocol):
    """Where the components of a run come from."""

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        """Every component of the scenario, in order; raises InputError."""
        ...

    def open(self, specs: Sequence[ComponentSpec]) -> AbstractContextManager[dict[str, Link]]:
        """A link to each, by name, until the context is left; raises InputError, ComponentFailure."""
        ...


class LiveSource:
    """Components that are started for the run. What processes print goes to ``logs``."""

    def __init__(self, logs: Path | None = None) -> None:
        self._logs = logs

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        return specify(scenario, folder)

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        with ExitStack() as stack:
            links: dict[str, Link] = {}
            wired_to = {target for spec in specs for _, target in spec.wires}
            if wired_to or any(spec.options.run == "island" for spec in specs):
                from .coupling.wired import hosted

                specs = hosted(specs)
            by_run: dict[str, list[ComponentSpec]] = {}
            for spec in specs:
                by_run.setdefault(spec.options.run, []).append(spec)
            # gRPC and docker are loaded only where they are needed.
            if by_run.keys() - {"inprocess"}:
                from .coupling.interrupts import DOOR

                stack.enter_context(DOOR.guarded())
            if "address" in by_run:
                from .coupling.launch.address import open_addresses

                links |= stack.enter_context(open_addresses(by_run["address"]))
            if "container" in by_run:
                from .coupling.launch.container import open_containers

                links |= stack.enter_context(open_containers(by_run["container"], self._logs))
            if started := [spec for spec in specs if spec.options.run in ("process", "command")]:
                from .coupling.launch.process import open_processes

                links |= stack.enter_context(open_processes(started, self._logs))
            links |= {spec.name: open_local(spec) for spec in specs if spec.name not in links}
            from .coupling.wired import joined

            behind = joined(specs, links, wired_to)
            for spec in specs:
                if spec.options.surrogate:
                    from .coupling.surrogate import open_surrogate

                    links[spec.name] = stack.enter_context(
                        closing(open_surrogate(spec, links[spec.name], behind.get(spec.name, [])))
                    )
            for spec in specs:
                if spec.factors:
                    from .coupling.calibrated import CalibratedLink

                    links[spec.name] = CalibratedLink(links[spec.name], spec.factors)
            yield links
