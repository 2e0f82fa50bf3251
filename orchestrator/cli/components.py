"""``metronome components``."""

from __future__ import annotations

import json
from typing import Any

import click

from ..coupling import registry


@click.command("components")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with each configuration's JSON Schema.")
def command(as_json: bool) -> None:
    """List every model and adapter that can be named in a scenario."""
    rows = [_describe(name) for name in registry.names()]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        if not row["installed"]:
            click.echo(f"{row['name']}  not installed: {row['missing']}")
            continue
        click.echo(f"{row['name']}  {row['kind']}, {row['time_policy']}: {row['summary']}")
        click.echo(f"    operations: {', '.join(row['op_kinds'])}")
        if row["features"]:
            click.echo(f"    features: {', '.join(row['features'])}")


def _describe(name: str) -> dict[str, Any]:
    try:
        model = registry.find(name)
    except registry.UnknownComponent as error:
        return {"name": name, "installed": False, "missing": str(error)}
    d = model.description
    return {
        "name": name,
        "kind": d.kind,
        "time_policy": str(d.time_policy),
        "op_kinds": sorted(d.op_kinds),
        "features": sorted(map(str, d.features)),
        "memoryless": d.memoryless,
        "installed": True,
        "version": d.version,
        "summary": d.summary,
        "config_schema": model.config_schema(),
    }
