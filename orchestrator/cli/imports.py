"""``metronome import``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .answers import json_option
from .import_servers import sglang, trtllm, vllm
from .import_written import write

FILE = click.Path(path_type=Path)


@click.group("import")
def command() -> None:
    """Turn another tool's set-up into one scenario file."""


for _server in (vllm, sglang, trtllm):
    command.add_command(_server)


@command.command("llmservingsim")
@click.argument("cluster", metavar="CLUSTER.json", type=FILE)
@click.option("--profiles", type=FILE, required=True, help="Folder of profiles: HARDWARE/ORG/MODEL/VARIANT.")
@click.option("--models", type=FILE, required=True, help="Folder of config.json files: ORG/MODEL.json.")
@click.option("--workload", type=FILE, required=True, help="Workload JSONL.")
@click.option("-o", "--output", type=FILE, required=True, help="Scenario file to write.")
@click.option("--limit", type=click.IntRange(min=1), help="Read this many requests.")
@click.option(
    "--router",
    type=click.Choice(["round-robin", "random", "least-loaded"]),
    default="round-robin",
    show_default=True,
)
@click.option(
    "--profile-format",
    type=click.Choice(["current", "v0"]),
    default="current",
    show_default=True,
    help="v0: layers.csv and attention.csv of the older profiles.",
)
@click.option("--max-num-seqs", type=click.IntRange(min=1))
@click.option("--max-num-batched-tokens", type=click.IntRange(min=1), default=2048, show_default=True)
@click.option("--long-prefill-token-threshold", type=click.IntRange(min=0))
@click.option("--block-size", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--dtype", type=click.Choice(["bfloat16", "float16", "float32"]))
@click.option("--kv-cache-dtype", type=click.Choice(["auto", "fp8"]))
@click.option("--enable-chunked-prefill/--no-enable-chunked-prefill", default=None)
@click.option("--enable-prefix-caching/--no-enable-prefix-caching", default=None)
@click.option(
    "--prefix-storage",
    type=click.Choice(["None", "CPU", "CXL"]),
    help="Keep what devices' prefix caches hold a second time there.",
)
@click.option("--enable-prefix-sharing", is_flag=True, default=None, help="One such store for all on a node.")
@click.option("--reserve-full-isl/--no-reserve-full-isl", default=None)
@json_option
def llmservingsim(
    cluster: Path,
    profiles: Path,
    models: Path,
    workload: Path,
    output: Path,
    limit: int | None,
    router: str,
    profile_format: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Import an LLMServingSim cluster config with its profiles, workload and serving flags.

    The scenario refers to the profiles, the model and the workload where they are, by paths relative
    to itself. What this project cannot do is refused with the field's name.
    """
    from ..importers.llmservingsim import Sources, convert
    from ..scenario.loading import validate

    imported = convert(Sources(cluster, profiles, models, workload, output), flags, limit, router, profile_format)
    validate(imported.scenario, str(cluster))
    write(output, f"Imported from {cluster.name} (LLMServingSim).", imported.scenario, imported.notes, as_json)
