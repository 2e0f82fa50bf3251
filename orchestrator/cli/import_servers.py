"""``metronome import vllm``, ``sglang``, ``trtllm``: command lines of serving engines."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .answers import json_option
from .import_written import write

if TYPE_CHECKING:
    from ..importers.servers import Imported

FILE = click.Path(path_type=Path)
OPTIONS = (
    click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND LINE"),
    click.option("-o", "--output", type=FILE, help="Scenario file to write; may stand at the very end, too."),
    click.option("--from", "source", type=FILE, help="Compose file or Kubernetes manifest that holds the command."),
    click.option("--device", help="Catalog device, e.g. h200.  [default: h100-sxm, and says so]"),
    click.option(
        "--devices-per-node", "per_node", type=click.IntRange(min=1), help="Devices of a node.  [default: as many as 8]"
    ),
    click.option("--interconnect", help="What joins the devices of a node.  [default: by device, and says so]"),
    click.option("--scale-out", help="What joins nodes.  [default: infiniband-ndr, and says so]"),
    click.option("--models", type=FILE, help="Folder of config.json files: ORG/MODEL.json or ORG/MODEL/config.json."),
    click.option("--workload", help="Workload section, as YAML.  [default: what `vllm bench serve` sends]"),
    click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="A field of the scenario."),
    json_option,
)


def command(tool: str, title: str, example: str) -> click.Command:
    """The command ``metronome import TOOL``."""

    def run(words: tuple[str, ...], output: Path | None, source: Path | None, as_json: bool, **beside: Any) -> None:
        given, output = _output(list(words), output)
        if output is None:
            raise InputError("-o", "scenario file", None, "is missing")
        if (source is None) == (not given):
            raise InputError(f"import {tool}", "command line", None, "give one after --, or a file of them with --from")
        _import(tool, given, output, source, as_json, **beside)

    run.__doc__ = f"""Import a command line of {title} as a scenario.

    \b
      metronome import {tool} --device h200 -o s.yaml -- {example}
      metronome import {tool} --from compose.yaml -o s.yaml

    Every flag is taken, listed as without effect, or refused for what a simulation would get wrong. What a command
    line does not say (device, workload) is given by options, or assumed and listed; fields of the scenario by --set.
    Environment variables of the engine that are not read are listed.
    """
    function: Any = run
    for option in reversed(OPTIONS):
        function = option(function)
    return click.command(tool, context_settings={"ignore_unknown_options": False})(function)


def _output(words: list[str], output: Path | None) -> tuple[list[str], Path | None]:
    """The command line without a last ``-o FILE``: no server has such a flag."""
    if output is None and len(words) > 1 and words[-2] in ("-o", "--output"):
        return words[:-2], Path(words[-1])
    return words, output


def _import(
    tool: str,
    words: list[str],
    output: Path,
    source: Path | None,
    as_json: bool,
    workload: str | None,
    overrides: Any,
    **beside: Any,
) -> None:
    from ..importers.manifests import lines
    from ..importers.secrets import without_secrets
    from ..importers.servers import Beside, convert, line
    from ..scenario.loading import override, validate
    from ..scenario.yaml import parse_value

    started = [line(tool, words)] if source is None else lines(source)
    given = [one for one in started if one.tool == tool]
    if not given:
        raise InputError(str(source), "--from", None, f"holds no command of {tool}")
    folder = Path() if source is None else source.parent
    sent = None if workload is None else parse_value("--workload", workload)
    imported = convert(given, Beside(output, workload=sent, **beside), folder)
    override(imported.scenario, overrides)
    validate(imported.scenario, str(source or "command line"))
    others = [f"left out: {one.where}: starts {one.tool}, not {tool}" for one in started if one.tool != tool]
    told = [*_told(imported), *others]
    origin = shlex.join(without_secrets(words)) if source is None else source.name
    write(output, f"Imported from {origin}", imported.scenario, told, as_json)


def _told(imported: Imported) -> list[str]:
    """What a reader of the scenario should know."""
    told = [f"assumed: {text}" for text in imported.assumed]
    told += [f"not read: {text}" for text in imported.unread]
    for where, notes in imported.notes.items():
        prefix = "" if where == "command line" else f"{where}: "
        told += [f"{prefix}without effect: {flag}: {why}" for flag, why in notes.items()]
    return told


vllm = command("vllm", "vLLM's server", "serve MODEL [flags]")
sglang = command("sglang", "SGLang's server", "serve --model-path MODEL [flags]")
trtllm = command("trtllm", "TensorRT-LLM's server", "trtllm-serve MODEL [flags]")
