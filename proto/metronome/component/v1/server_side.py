"""What a component server has of its own: fields of a configuration that no client of it may choose.

A client says what is simulated. What runs for it, and which files are read, is for whoever starts the server:
``serve-component --config FILE`` and ``--set FIELD=VALUE``. A client may repeat such a value, never change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metronome.hwmodels.interface import ConfigError

PATHS = frozenset({"path", "file-path", "directory-path"})  # formats of pydantic's JSON schema


def server_side(model: Any) -> frozenset[str]:
    """The fields of a model's configuration that are the server's: declared ones, and all that hold a path."""
    declared = getattr(model, "server_side", None)
    schema = model.config_schema()
    named = declared() if callable(declared) else frozenset(declared or ())
    return named | {field for field, of in schema.get("properties", {}).items() if _holds_path(of, schema, frozenset())}


def _holds_path(of: Any, schema: Mapping[str, Any], above: frozenset[str]) -> bool:
    """Whether a part of a JSON schema, or what it refers to, has the format of a path."""
    if isinstance(of, list):
        return any(_holds_path(part, schema, above) for part in of)
    if not isinstance(of, dict):
        return False
    if of.get("format") in PATHS:
        return True
    reference = str(of.get("$ref", "")).rpartition("/")[2]
    if reference and reference not in above:
        referred = schema.get("$defs", {}).get(reference, {})
        if _holds_path(referred, schema, above | {reference}):
            return True
    return any(_holds_path(part, schema, above) for part in of.values())


def merged(model: Any, own: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a session: the server's own, and what a client sent. Raises ConfigError for a field
    that is the server's and that the client wants otherwise."""
    for field in _others(model, own, sent):
        raise ConfigError(
            field,
            sent[field],
            "is chosen by the component's server alone (serve-component --config FILE, or --set FIELD=VALUE): "
            "a client never says what runs or is read there",
        )
    return {**own, **sent}


def _others(model: Any, own: Mapping[str, Any], sent: Mapping[str, Any]) -> Iterator[str]:
    for field in sorted(server_side(model) & sent.keys()):
        if field not in own or own[field] != sent[field]:
            yield field
