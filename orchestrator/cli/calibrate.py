"""``metronome calibrate``."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from ..calibrate import load as loads
from ..calibrate import log as logs
from ..calibrate.search import Search
from ..calibrate.simulator import Simulator
from ..errors import InputError
from ..scenario.inputs import Inputs
from ..scenario.loading import load
from ..simulation import read_workload
from ..workload.registry import Reading
from .progress import counting_bar

EXPECTED = 40  # runs, for the progress bar: how many there will be shows as they are made


@click.command("calibrate")
@click.argument("log", metavar="LOG", type=click.Path(path_type=Path))
@click.argument("scenario")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File of the factors."
)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field of SCENARIO.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(log: Path, scenario: str, output: Path, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Find which part of SCENARIO is off against LOG of a real server, and by what factor.

    LOG is a vLLM requests.jsonl, AIPerf's profile_export.jsonl, a result of `vllm bench serve --save-result
    --save-detailed`, or samples of vLLM's metrics (CSV, or Prometheus's query_range). SCENARIO is the same model,
    engine, devices and load. Parts are the engine's host work, API servers, kernels by family, networks.

    Factors are found on each half of the log and tried on the other. Proposed is what the other half supports and what
    no other part explains as well; where the log cannot tell parts apart, that is said and nothing is proposed.
    Some 20 to 70 runs of SCENARIO.

    \b
      metronome import vllm -o s.yaml -- serve MODEL ...    the scenario, of your server's command line
      metronome calibrate bench.json s.yaml -o factors.yaml
      metronome run s.yaml --set calibration=factors.yaml       or that line in s.yaml
    """
    read = logs.read(log)
    loaded, folder = load(scenario, overrides)
    if loaded.calibration is not None:
        raise InputError(scenario, "calibration", None, "is there already: take it out, factors are found from none")
    requests = list(read_workload(loaded, Reading(Inputs(folder).path, loaded.seed)))
    requests.sort(key=lambda request: (request.arrival_ps, request.id))
    with TemporaryDirectory() as scratch, counting_bar("runs", quiet or as_json) as tell:
        found = loads.of(read, loaded, requests, Path(scratch))
        simulator = Simulator(found.scenario, folder, read.observations, lambda done: tell(done, max(EXPECTED, done)))
        finding = Search(read, simulator, found.words).run()
    if finding.proposed:
        try:
            output.write_text(finding.as_yaml(), encoding="utf-8")
        except OSError as error:
            raise InputError(str(output), "output", None, f"cannot be written: {error}") from None
    if as_json:
        click.echo(json.dumps(finding.as_json(), indent=1))
    elif not quiet:
        if read.left_out:
            click.echo(f"metronome: {read.left_out} requests of the log failed and are left out", err=True)
        click.echo(finding.as_text())
        wrote = f"wrote {output}; in the scenario: calibration: {output.name}"
        click.echo(wrote if finding.proposed else "nothing is proposed, nothing written")
