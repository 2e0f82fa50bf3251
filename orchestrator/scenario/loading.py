"""Reading a scenario file, with errors that say where: file, line, field, value, what is allowed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import InputError
from ..serving.engines import kinds
from ..strict import did_you_mean, said
from ..workload.registry import guess
from ..workload.schema import formats_in_scenarios
from .joined import topology
from .memory_files import include_curves
from .network_files import include_networks
from .origin import Origin, Parts
from .schema import Scenario
from .unset import leave_out_unset
from .yaml import parse, parse_value, read_text

DEFAULT = "quickstart"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def bundled() -> list[str]:
    """Names of the scenarios that come with the project."""
    names = (f.name for f in files("metronome.scenarios").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


Overrides = Sequence[str] | Mapping[str, Any]


def load(source: str | None = None, overrides: Overrides = (), seed: int | None = None) -> tuple[Scenario, Path]:
    """The scenario at a path, or the bundled one of that name, and the folder its paths start from.

    ``overrides`` are values by path, or texts ``path.to.field=value`` with YAML values. Raises InputError.
    """
    path, text = _find(source or DEFAULT)
    data = _parse(str(path), text)
    overridden = _change(data, overrides, seed)
    if isinstance(data.get("devices"), str):
        data["devices"] = _included(path.parent / data["devices"], "devices")
    if isinstance(data.get("calibration"), str):
        data["calibration"] = _included(path.parent / data["calibration"], "calibration")
    include_curves(data, path.parent)
    include_networks(data, path.parent)
    return _guessed(data, Origin(str(path), text, overridden), path.parent), path.parent


def of_mapping(content: Mapping[str, Any], overrides: Overrides = (), seed: int | None = None) -> Scenario:
    """The scenario of a file's content. Raises InputError."""
    data = deepcopy(dict(content))
    _change(data, overrides, seed)
    include_networks(data, Path())
    return _guessed(data, Origin(), Path())


def _change(data: dict[str, Any], overrides: Overrides, seed: int | None) -> frozenset[Parts]:
    overridden = override(data, overrides)
    if seed is not None:
        data["seed"] = seed
    return overridden


def override(data: dict[str, Any], overrides: Overrides) -> frozenset[Parts]:
    """Set fields of a scenario's content in place, and say which. Raises InputError."""
    values = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    return frozenset([_set(data, path, value) for path, value in values.items()])


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Values by path, of texts ``path.to.field=value`` with YAML values. Raises InputError."""
    found = {}
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path:
            raise InputError("--set", override, None, "must be path.to.field=value")
        found[path] = parse_value("--set", text)
    return found


def _included(path: Path, field: str) -> dict[str, Any]:
    """The mapping in a file that the scenario names instead of it: devices by name, or a calibration."""
    try:
        data = parse(str(path), read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), field, None, f"cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise InputError(str(path), field, data, "must be a mapping")
    return data


def validate(data: dict[str, Any], where: str | Origin) -> Scenario:
    """The scenario of parsed YAML; the first thing wrong as InputError."""
    return checked(Scenario, data, where, tags=(*formats_in_scenarios(), *kinds()))


Model = TypeVar("Model", bound=BaseModel)


def checked(kind: type[Model], data: Any, where: str | Origin, text: str = "", tags: Sequence[str] = ()) -> Model:
    """A file's content as that model; the first thing wrong as InputError, with its line if ``text`` is the file's.

    ``tags`` are names of variants, which are no fields of the file.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        errors = error.errors()
        first = errors[0]
        loc = tuple(part for part in first["loc"] if part not in tags and not _is_alternative(part))
        beside = [one for one in errors[1:] if one["loc"] and one["loc"][:-1] == first["loc"][:-1]]
        others = [one["msg"] for one in beside if _is_alternative(one["loc"][-1])]
        message = " or ".join([said(first["type"], first["msg"], first.get("ctx", {})), *others])
        value = first.get("input")
        raise InputError(
            (where if isinstance(where, Origin) else Origin(where, text)).place(loc),
            ".".join(map(str, loc)) or kind.__name__.lower(),
            None if isinstance(value, dict | list) or first["type"] == "missing" else value,
            message,
        ) from None


def _is_alternative(part: int | str) -> bool:
    """Whether a part of an error's place names one of several types a field may have, and no field of the file."""
    return isinstance(part, str) and part.startswith(("constrained-", "literal["))


def _guessed(data: dict[str, Any], origin: Origin, folder: Path) -> Scenario:
    """The scenario, the format of its workload guessed from the file where it does not say."""
    workload = data.get("workload")
    found = None
    if isinstance(workload, dict) and "format" not in workload and isinstance(workload.get("path"), str):
        found = guess(folder / workload["path"])
        if found is None:
            _there(folder / workload["path"])
        else:
            data = {**data, "workload": {"format": found, **workload}}
    scenario = validate(data, origin)
    scenario.workload.mark_guessed(found is not None)
    if origin.text:
        scenario.came_from(origin)
    return scenario


def _there(path: Path) -> None:
    """Raises InputError for a workload that nobody could know by its looks."""
    if not path.exists():
        raise InputError(str(path), "workload.path", None, "no such file")
    if path.is_file() and not path.stat().st_size:
        raise InputError(str(path), "workload", None, "is empty; at least one request is needed")


def as_yaml(scenario: Scenario) -> str:
    """The scenario with every default written out, to be loaded again: what a run leaves as scenario.yaml."""
    data = scenario.model_dump(mode="json", exclude_none=True)
    return yaml.dump(data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120)


def digest(scenario: Scenario) -> str:
    """SHA-256 of what determines the result: all but where components run, and what if they are slow or fail."""
    data = scenario.model_dump(mode="json")
    leave_out_unset(data)
    for i, network in enumerate(data["cluster"]["networks"]):
        network["topology"] = topology(scenario, i)
    placement = ("run", "timeout_s", "answer_timeout_s", "start_timeout_s", "on_failure", "container", "address")
    components = {
        name: {key: value for key, value in options.items() if key not in placement and value is not None}
        for name, options in data["components"].items()
    }
    data["components"] = {name: options for name, options in components.items() if options}
    if not data["wires"]:  # nor one without wires
        del data["wires"]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _find(source: str) -> tuple[Path, str]:
    path = Path(source)
    try:
        if path.is_file():
            return path, read_text(path)
        if source in bundled():
            return Path(source + ".yaml"), files("metronome.scenarios").joinpath(source + ".yaml").read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(source, "scenario", None, f"cannot be read: {error}") from None
    hint = did_you_mean(source, bundled())
    raise InputError(source, "scenario", None, f"no such file; {hint}bundled scenarios: {', '.join(bundled())}")


def _parse(where: str, text: str) -> dict[str, Any]:
    data = parse(where, text)
    if not isinstance(data, dict):
        raise InputError(where, "scenario", data, "must be a mapping with workload, cluster and instances")
    return data


def _set(data: dict[str, Any], path: str, value: Any) -> Parts:
    """Returns the field's place: of a list's parts by number."""
    *parents, last = _keys(path)
    spot: Any = data
    parts: list[int | str] = []
    for key in parents:
        index = _index(spot, key, path)
        if isinstance(spot, dict) and not isinstance(spot.get(index), dict | list):
            spot[index] = {}
        spot = spot[index]
        parts.append(index)
    index = _index(spot, last, path)
    spot[index] = value
    return *parts, index


def _keys(path: str) -> list[str]:
    """The path's parts; a component's name holds a dot itself (n0.accelerators)."""
    keys = path.split(".")
    if keys[0] == "components" and len(keys) > 2 and keys[2] in ("accelerators", "hbm", "dram", "pim"):
        keys[1:3] = [f"{keys[1]}.{keys[2]}"]
    return keys


def _index(spot: Any, key: str, path: str) -> Any:
    if isinstance(spot, dict):
        return key
    if not isinstance(spot, list):
        raise InputError("--set", path, key, "there is no mapping or list to set it in")
    names = [str(part.get("name", "")) if isinstance(part, dict) else "" for part in spot]
    if key in names:
        return names.index(key)
    if not key.isdigit() or int(key) >= len(spot):
        known = [name for name in names if name]
        or_name = f", or a name: {did_you_mean(key, known)}{', '.join(known)}" if known else ""
        raise InputError("--set", path, key, f"must be an index from 0 to {len(spot) - 1}{or_name}")
    return int(key)
