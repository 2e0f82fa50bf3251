"""What a shell offers for a scenario: the bundled ones, and files."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from ..scenario.loading import bundled


def scenarios(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For `click.argument(shell_complete=...)`."""
    names = [CompletionItem(name) for name in bundled() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]
