"""The table a run prints."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

Fact = tuple[str, str]  # what it is about, and what is to be said
BUSIEST = 3  # links of a network that are shown


def show(data: dict[str, Any], console: Console) -> None:
    """Print what is in result.json, the figures people ask for first."""
    own = data["metronome"]
    console.print(_latencies(data))
    facts = [*_outcome(data), *_components(own), *_cost(own)]
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        console.print(f"{name:<{width}}  {text}", highlight=False, markup=False)


def _latencies(data: dict[str, Any]) -> Table:
    """Statistics of the four latencies."""
    own = data["metronome"]
    table = Table(title=f"{own['scenario']}: {data['completed']} requests in {data['duration']:.1f} s simulated")
    for column in ("", "mean", "median", "p90", "p95", "p99"):
        table.add_column(column, justify="left" if not column else "right")
    for label, name in (
        ("TTFT (ms)", "ttft_ms"),
        ("TPOT (ms)", "tpot_ms"),
        ("ITL (ms)", "itl_ms"),
        ("E2EL (ms)", "e2el_ms"),
    ):
        table.add_row(label, *(_number(data[f"{what}_{name}"]) for what in ("mean", "median", "p90", "p95", "p99")))
    return table


def _outcome(data: dict[str, Any]) -> list[Fact]:
    """What was served, and what that took of memory, energy and transfers."""
    own = data["metronome"]
    facts: list[Fact] = []
    goodput = "" if data["request_goodput"] is None else f", {data['request_goodput']:.2f} within the SLO"
    facts.append(
        (
            "throughput",
            f"{_number(data['request_throughput'])} requests/s{goodput}; "
            f"{_number(data['output_throughput'])} output, {_number(data['total_token_throughput'])} total tokens/s",
        )
    )
    if own["failed"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in own["failed"].items())
        facts.append(("failed", f"{data['failed']} of {data['num_prompts']} requests: {reasons} (failed.csv)"))
    facts += [("workload", note) for note in own["workload"]]
    facts.append(
        (
            "KV cache",
            f"{_blocks(own['kv_blocks'])} blocks; {own['prefix_hit_tokens']} tokens hit, "
            f"{own['preemptions']} preemptions, {own['recomputed_tokens']} tokens recomputed",
        )
    )
    for name, tier in own.get("kv_tiers", {}).items():
        full = tier["used_gib"] / tier["size_gib"]
        facts.append(
            (
                f"KV tier {name}",
                f"{tier['size_gib']:.1f} GiB in {', '.join(tier['memory'])}, {full:.0%} full; "
                f"{tier['hit_chunks']} chunks recalled, {tier['bytes_in'] / 1e9:.2f} GB in, "
                f"{tier['bytes_out'] / 1e9:.2f} GB out, "
                f"{tier['stall_ms']:,.1f} ms waited for",
            )
        )
    if own["energy_j"] is not None and own["joules_per_output_token"] is not None:
        left_out = own["energy_excludes"]
        without = f"; without {', '.join(left_out)}, which say none" if left_out else ""
        spent = f"{own['energy_j'] / 1000:.1f} kJ, {own['joules_per_output_token']:.3f} J per output token"
        facts.append(("energy", spent + without))
    if own["kv_transfers"]:
        moved = own["kv_transfers"]
        facts.append(("K and V moved", f"{moved['bytes'] / 1e9:.2f} GB for {moved['requests']} requests"))
    return facts


def _components(own: dict[str, Any]) -> list[Fact]:
    """Who answered, from where, and what is known of it."""
    facts: list[Fact] = []
    told = {name: component.get("statistics", {}) for name, component in own["components"].items()}
    memories = {statistics["memory"]["component"] for statistics in told.values() if "memory" in statistics}
    for name, component in own["components"].items():
        sources = ", ".join(f"{count} {source}" for source, count in component["provenance"].items())
        if name not in memories:
            facts.append((name, f"{component['model']}: {component['calls']} answers ({sources or 'none'})"))
        if memory := told[name].get("memory"):
            facts.append((memory["component"], f"{memory['model']}: {memory['asked']} answers, in those of {name}"))
        if surrogate := component.get("statistics", {}).get("surrogate"):
            facts.append(("", f"  surrogate: {_surrogate(surrogate)}"))
        for link in component.get("statistics", {}).get("links", [])[:BUSIEST]:
            users = sorted(link["users"], key=lambda user: (-link["users"][user], user))
            who = ", ".join(users[:2]) + (", ..." if len(users) > 2 else "")
            share = link["busy_s"] / own["simulated_s"] if own["simulated_s"] else 0
            facts.append(("", f"  {link['link']}: {share:.1%} busy, {link['bytes'] / 1e9:.2f} GB ({who})"))
    return facts


def _cost(own: dict[str, Any]) -> list[Fact]:
    """What times were multiplied by, how far off the figures may be, and what the run cost."""
    facts: list[Fact] = []
    if calibration := own.get("calibration"):
        factors = ", ".join(f"{part} x{factor:g}" for part, factor in calibration["factors"].items())
        facts.append(("calibrated", factors + (f"; from {calibration['source']}" if calibration["source"] else "")))
    if own["error_bars"]:
        bars = own["error_bars"]
        said = f"{bars['relative']:.1%} by the provenance of the figures: mean TPOT {_span(bars['mean_tpot_ms'])}"
        if "runs" in bars:
            said += f", TTFT {_span(bars['mean_ttft_ms'])}, of {bars['runs']} runs"
        facts.append(("error bars", said))
    speed = own["simulated_s"] / own["wall_s"] if own["wall_s"] else 0
    facts.append(
        (
            "cost",
            f"{own['steps']} steps in {own['wall_s']:.2f} s ({speed:.0f} x real time), start {own['startup_s']:.2f} s",
        )
    )
    return facts


def _surrogate(own: dict[str, Any]) -> str:
    text = (
        f"{own['calls']} calls for {own['operations']} operations ({own['wall_calls']} made now), checked error "
        f"{own['checked_error']:.2%} of {own['tolerance']:.0%}"
    )
    if own["audited"]:
        text += (
            f"; {own['audited']} audited: P95 {own['audited_p95_error']:.2%}, worst {own['audited_worst_error']:.2%}"
        )
    if own["audits_off"]:
        text += f", {own['audits_off']} beyond the tolerance, and refined there"
    if own["calls"] > own["operations"]:
        text += "; the component alone would have been asked less: leave the surrogate away"
    return text


def _span(interval: list[float] | None) -> str:
    low, high = interval or (0, 0)
    return f"{low:,.1f} to {high:,.1f} ms"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _blocks(blocks: dict[str, int]) -> str:
    sizes = set(blocks.values())
    return f"{len(blocks)} x {sizes.pop()}" if len(sizes) == 1 else ", ".join(f"{n}: {b}" for n, b in blocks.items())
