"""What the manifests of every kind have in common: which components there are, and the scenario that finds them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from metronome.component.v1.server_side import server_side

from ..coupling import registry
from ..coupling.components import ComponentSpec, specify
from ..errors import InputError
from ..scenario.components import ContainerOptions
from ..scenario.schema import Scenario

NONROOT = 65532


@dataclass(frozen=True, slots=True)
class Deployed:
    """A component to be run in a container: ``slug`` is its name where dots are not allowed.

    ``files``: paths of its configuration, (field, path here); inside they are under ``/data``.
    """

    spec: ComponentSpec
    slug: str
    options: ContainerOptions
    files: tuple[tuple[str, Path], ...]

    def command(self, listen: str, *more: str) -> list[str]:
        """Arguments of the image's entry point."""
        if self.options.command:
            return [part.replace("{listen}", listen) for part in self.options.command]
        return ["serve-component", self.spec.model, "--listen", listen, *more, *self._own()]

    def _own(self) -> Iterator[str]:
        """What no client may choose is an argument of the server."""
        if self.spec.facts is None:
            inside = {field: self.inside(field, path) for field, path in self.files}
            for field in sorted(server_side(registry.find(self.spec.model)) & self.spec.config.keys()):
                yield "--set"
                yield f"{field}={json.dumps(inside.get(field, self.spec.config[field]))}"

    def inside(self, field: str, path: Path) -> str:
        return f"/data/{field}/{path.name}"


def components(scenario: Scenario, folder: Path) -> list[Deployed]:
    """Every component but those that run at an address already. Raises InputError, as for a program of this machine."""
    found = []
    for spec in specify(scenario, folder):
        if spec.options.run == "address":
            continue
        if spec.options.run == "command":
            where = f"components.{spec.name}.run"
            raise InputError("scenario", where, "command", "a program of this machine: give an image (run: container)")
        files: list[tuple[str, Path]] = []
        if spec.facts is None:
            fields = registry.find(spec.model).config_schema().get("properties", {})
            files = [
                (f, Path(spec.config[f]))
                for f, of in fields.items()
                if of.get("format") == "path" and spec.config.get(f)
            ]
        slug = re.sub(r"[^a-z0-9-]+", "-", spec.name.lower()).strip("-")
        found.append(Deployed(spec, slug, spec.options.container or ContainerOptions(), tuple(files)))
    slugs = [one.slug for one in found]
    for slug in slugs:
        if slugs.count(slug) > 1:
            raise InputError("scenario", "components", slug, "two components have this name once dots are dashes")
    return found


def _dumped(scenario: Scenario) -> dict[str, Any]:
    """What a scenario says, less what it leaves at its default; formats and versions say of what kind the rest is."""
    data = scenario.model_dump(mode="json", exclude_defaults=True)
    said = scenario.model_dump(mode="json")
    for one, whole in zip(_workloads(data), _workloads(said), strict=True):
        rest = dict(one)
        one.clear()
        one |= {"format": whole["format"], **rest}
    for one, whole in zip(data["instances"], said["instances"], strict=True):
        one["engine"] = {"version": whole["engine"]["version"], **one.get("engine", {})}
    return data


def _workloads(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A scenario's workload, and those of its classes."""
    workload = data["workload"]
    return [workload, *(one["workload"] for one in workload.get("classes", ()))]


def scenario_for(
    scenario: Scenario, deployed: Sequence[Deployed], address: Callable[[Deployed], Mapping[str, Any]]
) -> str:
    """The scenario as YAML, its components at those addresses."""
    data = _dumped(scenario)
    options = data.setdefault("components", {})
    for one in deployed:
        mine = {key: value for key, value in options.get(one.spec.name, {}).items() if key not in ("run", "container")}
        mine |= {field: one.inside(field, path) for field, path in one.files}
        options[one.spec.name] = {**mine, "run": "address", "address": dict(address(one))}
    return yaml.safe_dump(data, sort_keys=False)


def copy_inputs(scenario: Scenario, folder: Path, output: Path) -> Scenario:
    """The workload and model files of a scenario beside its manifests; returns the scenario that names them there."""
    data = _dumped(scenario)

    def copied(name: str) -> str:
        source = folder / name
        if source.is_dir():
            source = source / "config.json"
        target = Path("inputs") / source.parent.name / source.name
        (output / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, output / target)
        return str(target)

    for workload in _workloads(data):
        if workload.get("path"):
            workload["path"] = copied(workload["path"])
    for instance in data["instances"]:
        if (folder / instance["model"]).exists():
            instance["model"] = copied(instance["model"])
    return Scenario.model_validate(data)
