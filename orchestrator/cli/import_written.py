"""What every import ends with: the scenario is written, looked at as ``validate`` does, and what is said of it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import InputError, MetronomeError
from .answers import say, show_json


def write(output: Path, title: str, scenario: dict[str, Any], told: Sequence[str], as_json: bool) -> None:
    """Write the scenario with what a reader should know of it at its head, and say it.

    One that a run would refuse is written all the same, for its reader to mend; the command then ends with 2.
    """
    import yaml

    comments = "".join(f"# {' '.join(text.split())}\n" for text in (title, *told))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(comments + yaml.safe_dump(scenario, sort_keys=False, width=120))
    refused = _refused(output) if output.is_file() else None  # no pipe is read again
    if as_json:
        show_json({"written": [str(output)], "notes": [*told], "refused": refused})
    else:
        for text in told:
            click.echo(text)
        click.echo(f"wrote {output}{'' if refused else f'; next: metronome run {output}'}")
    if refused:
        say(f"metronome: the scenario was written, and would be refused: {refused}")
        sys.exit(InputError.exit_code)


def _refused(path: Path) -> str | None:
    """Why a run would refuse the scenario, if it would; nothing is simulated."""
    from ..scenario.loading import load
    from ..scenario.origin import naming_its_file
    from ..simulation import Simulation
    from .validate import Served

    try:
        with warnings.catch_warnings(action="ignore"):  # a run says them
            loaded, folder = load(str(path))
            with naming_its_file(loaded), Simulation(loaded, folder) as simulation:
                Served(simulation).check(strict=False)
    except MetronomeError as error:
        return str(error)
    return None
