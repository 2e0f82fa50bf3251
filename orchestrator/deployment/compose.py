"""A Compose file: each component without a network, its socket in a volume it shares with the orchestrator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from ..scenario.schema import Scenario
from .parts import NONROOT, Deployed, components, copy_inputs, scenario_for

SOCKET = "component.sock"


def write_compose(scenario: Scenario, folder: Path, output: Path, image: str) -> list[Path]:
    """Writes docker-compose.yaml, scenario.yaml, inputs/ and an empty out/; returns the files. Raises InputError."""
    output.mkdir(parents=True, exist_ok=True)
    deployed = components(scenario, folder)
    own = copy_inputs(scenario, folder, output)
    text = scenario_for(own, deployed, lambda one: {"target": f"unix:/run/metronome/{one.slug}/{SOCKET}"})
    compose = {
        "services": {
            **{one.slug: _component(one, output) for one in deployed},
            "orchestrator": _orchestrator(deployed, image, (output / "inputs").is_dir()),
        },
        "volumes": {f"socket-{one.slug}": {} for one in deployed},
    }
    head = f"# {scenario.name}: written by `metronome deploy compose`.\n"
    (output / "docker-compose.yaml").write_text(
        f"{head}#   docker-compose up --exit-code-from orchestrator\n{_yaml(compose)}"
    )
    (output / "scenario.yaml").write_text(head + text)
    (output / "out").mkdir(exist_ok=True)
    (output / "out").chmod(0o1777)  # the orchestrator is nobody there
    return [output / "docker-compose.yaml", output / "scenario.yaml"]


def _yaml(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False)


def _hardened(**more: Any) -> dict[str, Any]:
    return {
        "user": f"{NONROOT}:{NONROOT}",
        "init": True,
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 256,
        "network_mode": "none",
        **more,
    }


def _component(one: Deployed, output: Path) -> dict[str, Any]:
    options = one.options
    volumes = [f"socket-{one.slug}:/run/metronome"]
    volumes += [f"{_from(output, path)}:{one.inside(field, path)}:ro" for field, path in one.files]
    volumes += [
        f"{_from(output, one.spec.folder / m.source)}:{m.target}{':ro' if m.read_only else ''}" for m in options.mounts
    ]
    service = _hardened(
        image=options.image,
        command=[part.replace("$", "$$") for part in one.command(f"unix:/run/metronome/{SOCKET}")],  # no variables
        volumes=volumes,
        restart="no",
    )
    if options.environment:
        service["environment"] = dict(options.environment)
    if options.cpus:
        service["cpus"] = options.cpus
    if options.memory_mib:
        service["mem_limit"] = f"{options.memory_mib}m"
    if options.gpus:
        devices = [{"driver": "nvidia", "count": options.gpus, "capabilities": ["gpu"]}]
        service["deploy"] = {"resources": {"reservations": {"devices": devices}}}
    return service


def _from(output: Path, path: Path) -> str:
    """A path as Compose takes it: relative to the file, beginning with a dot."""
    relative = os.path.relpath(path.resolve(), output.resolve())
    return relative if relative.startswith(".") else f"./{relative}"


def _orchestrator(deployed: list[Deployed], image: str, inputs: bool) -> dict[str, Any]:
    return _hardened(
        image=image,
        command=["run", "/scenario/scenario.yaml", "-o", "/out", "--quiet"],
        depends_on={one.slug: {"condition": "service_healthy"} for one in deployed},
        volumes=[
            "./scenario.yaml:/scenario/scenario.yaml:ro",
            *(["./inputs:/scenario/inputs:ro"] if inputs else []),
            "./out:/out",
            *(f"socket-{one.slug}:/run/metronome/{one.slug}" for one in deployed),
        ],
    )
