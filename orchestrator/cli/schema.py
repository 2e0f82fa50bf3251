"""The scenario's JSON Schema for editors: what `metronome validate --schema` prints, scenarios/scenario.schema.json.

What pydantic makes of the classes is a start. Added: an identity, names that an editor can complete (any other is left
to `metronome validate`), and what the reader takes besides (a file's name in place of devices or a calibration).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from metronome.hwmodels import catalog
from metronome.hwmodels.catalog.memory_parts import memory_names

from ..coupling import registry
from ..scenario.schema import Scenario
from ..serving import engines, policies, router
from ..serving.fleet import scaling
from ..serving.options import EngineOptions

ID = "urn:metronome-cosim:scenario"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema; the same for the same installed packages."""
    schema = Scenario.model_json_schema()
    parts = schema["$defs"]
    _complete(parts["Accelerators"], "type", catalog.device_names())
    _complete(parts["Network"], "type", catalog.interconnect_names())
    _complete(parts["ScaleOut"], "type", catalog.interconnect_names())
    _complete(parts["Instance"], "model", catalog.model_names())
    _complete(parts["RouterOptions"], "policy", router.POLICIES)
    _complete(parts["Autoscaling"], "policy", list(scaling.POLICIES))
    _complete(parts["ComponentOptions"], "model", registry.names())
    _complete(parts["Fallback"], "fallback", registry.names())
    _engines(parts)
    for field in ("devices", "calibration"):
        schema["properties"][field] = _or_text(schema["properties"][field], "path of a YAML file of it")
    file = {"type": "string", "description": "in place of links and topology: an ASTRA-sim network file"}
    parts["Network"]["properties"]["file"] = file
    for name in ("Memory", "ClusterMemory"):
        _complete(parts[name], "type", memory_names())
        curve = parts[name]["properties"]
        curve["loaded_latency"] = _or_text(curve["loaded_latency"], "path of a CSV file of it")
    budget = parts["SurrogateOptions"]["properties"]["budget"]
    budget["anyOf"].append({"type": "string", "pattern": r"^\s*\d+\s*calls\s*$"})
    own = parts["TrafficClass"]["properties"]["workload"]
    del own["$ref"]
    own["oneOf"] = [
        one for one in schema["properties"]["workload"]["oneOf"] if not one["$ref"].endswith("/MixtureOptions")
    ]
    for one in _nodes(schema):
        one.pop("discriminator", None)
        if "oneOf" in one:  # what tells its parts apart may be left out, so several can fit
            one["anyOf"] = one.pop("oneOf")
    return {"$schema": DIALECT, "$id": ID, **schema, "title": "Metronome scenario"}


def _complete(part: dict[str, Any], field: str, names: Sequence[str]) -> None:
    """Offer names where a field is a text; other texts stay allowed."""
    schema = part["properties"][field]
    offered = {"enum": list(names)}
    if schema.get("type") == "string":
        del schema["type"]
        schema["anyOf"] = [offered, {"type": "string"}]
    else:
        schema["anyOf"].insert(0, offered)


def _engines(parts: dict[str, Any]) -> None:
    """Flags are those of the kind of engine that the version names; the default version need not be written."""
    default = engines.kind_name(EngineOptions().version)
    for name, kind in engines.kinds().items():
        part = parts[kind.options.__name__]
        part["properties"]["version"]["enum"] = [one for one in engines.versions() if engines.kind_name(one) == name]
        if name != default:
            part["required"] = sorted({*part.get("required", []), "version"})
        _complete(part, "scheduling_policy", policies.POLICIES)


def _or_text(schema: dict[str, Any], what: str) -> dict[str, Any]:
    kept: dict[str, Any] = {key: schema.pop(key) for key in ("title", "description", "default") if key in schema}
    return {"anyOf": [schema, {"type": "string", "description": what}], **kept}


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of the schema, itself first."""
    if isinstance(schema, dict):
        yield schema
    for inner in list(schema.values()) if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _nodes(inner)
