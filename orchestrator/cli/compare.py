"""``metronome compare``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import click

from ..report import reference as references


@click.command("compare")
@click.argument("run", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("reference", type=click.Path(path_type=Path))
@click.option(
    "--anchor",
    type=click.Choice(["arrival", "queued"]),
    default="arrival",
    show_default=True,
    help="Where TTFT and latency start: when a request arrives, or when the engine takes it from its queue.",
)
@click.option("--entry", type=click.IntRange(min=1), help="Which result of REFERENCE, where it holds several.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(run: Path, reference: Path, anchor: str, entry: int | None, as_json: bool) -> None:
    """Compare the run in DIR with REFERENCE, metric by metric.

    REFERENCE is a real vLLM's requests.jsonl, a result of `vllm bench serve` (also with --append-result), of AIPerf
    (profile_export_aiperf.json or .csv, profile_export.jsonl) or GuideLLM (benchmarks.json), or another run's folder.
    Where model, number of requests or lengths differ, that is said.
    The same anchor is used on both sides. A requests.jsonl does not hold the offset between its
    arrival clock and its engine clock: the smallest (queued - arrival) is taken for it.
    """
    ours, theirs = references.read(run, anchor), references.read(reference, anchor, entry)
    if theirs.sample.from_first:
        ours = _from_first(ours)
    rows, mape = references.compare(ours, theirs)
    warnings = references.warnings(ours, theirs, anchor)
    if as_json:
        found = {"anchor": anchor, "warnings": warnings, "rows": [asdict(row) for row in rows], **mape}
        click.echo(json.dumps(found, indent=1))
        return
    for text in warnings:
        click.echo(f"metronome: warning: {text}", err=True)
    click.echo(f"{'metric (' + anchor + ')':<24}{'reference':>14}{'run':>14}{'error':>10}")
    for row in rows:
        click.echo(f"{row.metric:<24}{row.reference:>14,.2f}{row.run:>14,.2f}{row.error:>+10.2%}")
    if mape:
        parts = ", ".join(
            f"{name.removeprefix('mape_')} {value:.2%}" for name, value in mape.items() if name.startswith("mape")
        )
        click.echo(f"per-request MAPE over {mape['matched_requests']:.0f} requests: {parts}")


def _from_first(run: references.Reference) -> references.Reference:
    """A run's rates over the time from its first arrival to its last token, as AIPerf has them; its own are from 0."""
    sample = run.sample
    if run.times is None or not run.times.makespan_s or sample.completed is None:
        return run
    inputs, outputs = sample.input_tokens, sample.output_tokens or 0.0
    each = {"request_throughput": 1.0, "output_throughput": outputs}
    if inputs is not None:
        each["total_token_throughput"] = inputs + outputs
    rate = sample.completed / run.times.makespan_s
    return replace(run, figures=run.figures | {key: rate * tokens for key, tokens in each.items()})
