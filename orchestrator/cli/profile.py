"""``metronome profile``."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import click
from metronome.adapters.profiler import collectives
from metronome.adapters.profiler.measure import DEVICES, profile
from metronome.adapters.profiler.points import Limits
from metronome.hwmodels.interface import ConfigError, Template

from ..errors import InputError
from ..lowering.work import Templates
from ..placement import UnitPlan, place
from ..scenario.inputs import Inputs
from ..scenario.loading import load
from .answers import json_option, show_json
from .progress import counting_bar


@click.command("profile")
@click.argument("scenario")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the bundle."
)
@click.option("--device", type=click.Choice(DEVICES), default="cuda", show_default=True, help="cuda: ROCm, too.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field of SCENARIO.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@json_option
def command(scenario: str, output: Path, device: str, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Measure the operations of SCENARIO on this machine's device with PyTorch, into a bundle for `profiled`.

    Every layer of the first instance's plan, as one rank of its tensor-parallel group has it: at 1, 2, 4, ... tokens up
    to engine.max_num_batched_tokens, sequences up to max_num_seqs, contexts up to max_model_len. Collectives of the
    plan are measured between this machine's devices, into collectives.csv. What is measured stays: stopped, it goes on
    where it was. Kernels are PyTorch's, not your engine's; `metronome calibrate` finds what that makes.

    \b
      pip install 'metronome-cosim[profile]'
      metronome profile my.yaml -o bundle
      metronome run my.yaml --set 'components={n0.accelerators: {model: profiled, bundle: bundle}}'
    """
    loaded, folder = load(scenario, overrides)
    unit = place(loaded, Inputs(folder), Templates())[0]
    mine, others = _operations(unit, {network.name for network in loaded.cluster.networks})
    engine = unit.options.engine
    limits = Limits(engine.max_num_batched_tokens or 0, engine.max_num_seqs or 0, unit.max_model_len)
    try:
        with counting_bar("points", quiet or as_json) as tell:
            done, without = profile(mine, limits, output, device, tell)
        rows = collectives.measure(output, others, device) if others else []
    except ConfigError as error:
        raise InputError("profile", error.field, error.value, error.allowed) from None
    found = collectives.link(rows) if rows else None
    if as_json:
        link = dict(zip(("bandwidth_gb_s", "latency_ns"), found, strict=True)) if found else None
        show_json({"written": [str(output)], "measured": done, "did_not_fit": without, "links_as_rings": link})
        return
    if quiet:
        return
    click.echo(f"{done} points measured; {without} did not fit into memory" if without else f"{done} points measured")
    if found:
        bandwidth, latency = found
        click.echo(f"links as rings: bandwidth_gb_s: {bandwidth:.3g}, latency_ns: {latency:.3g}")
    click.echo(f"bundle in {output}; components: {{n0.accelerators: {{model: profiled, bundle: {output}}}}}")


def _operations(unit: UnitPlan, networks: Set[str]) -> tuple[list[Template], list[tuple[str, int]]]:
    """What accelerators do in a step, and (kind, ranks) of its collectives, each once."""
    works = unit.plan.works
    mine = {work.template.id: work.template for work in works if work.component.endswith(".accelerators")}
    on_wire = [work.template for work in works if work.component in networks and work.template.kind != "send"]
    return list(mine.values()), sorted({(t.kind, int(t.attributes["participants"])) for t in on_wire})
