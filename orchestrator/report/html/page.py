"""The page: one file, its script and style inside, everything of a scenario escaped.

A content security policy in the page lets only the scripts named by their digests run and nothing be fetched, so that
a text that got past the escaping would still be only text.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from .charts import distributions, number, over_time
from .cluster import picture
from .figures import cards, latency_rows, scenario_differences, total_rows
from .goodput import goodput
from .keys import MEANINGS, PROVENANCE
from .phases import breakdowns, slowest
from .run import PHASES, Run

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def render(runs: list[Run]) -> str:
    """The report of one run, or of several side by side. Needs at least one."""
    shares, series = distributions(runs), over_time(runs)
    if chart := goodput(runs):
        series.insert(0, chart)
    scripts = [_asset("uPlot.iife.min.js"), _asset("report.js")]
    several = len(runs) > 1
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=", ".join(dict.fromkeys(str(run.own.get("scenario", run.label)) for run in runs)),
            runs=runs,
            several=several,
            policy=_policy(scripts),
            scripts=scripts,
            style=_asset("uPlot.min.css") + _asset("report.css"),
            cards=[] if several else cards(runs[0]),
            latencies=latency_rows(runs),
            totals=total_rows(runs),
            differences=scenario_differences(runs) if several else [],
            distributions=shares,
            series=series,
            data=[chart.data() for chart in (*shares, *series)],
            phases=PHASES,
            breakdowns=breakdowns(runs),
            slowest=[(run, slowest(run, "ttft"), slowest(run, "e2el")) for run in runs],
            pictures=[(run, picture(run)) for run in runs],
            components=[(run, _components(run)) for run in runs],
            scenarios=[(run, _text(run.scenario)) for run in runs if run.scenario],
            meanings=MEANINGS,
            provenance=PROVENANCE,
        )
    )


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("metronome.orchestrator.report.html", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["number"] = number
    return found


@cache
def _asset(name: str) -> str:
    return files("metronome.orchestrator.report.html").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {allowed}; {rest}"


def _components(run: Run) -> list[dict[str, Any]]:
    """Who answered: name, model, answers, from where, how far off."""
    rows = []
    for name, component in (run.own.get("components") or {}).items():
        sources, statistics = component.get("provenance") or {}, component.get("statistics") or {}
        total = sum(sources.values()) or 1
        said = statistics.get("relative_error") or {}
        rows.append(
            {
                "name": name,
                "model": component.get("model", ""),
                "image": component.get("image", ""),
                "calls": component.get("calls", 0),
                "asked": component.get("calls", 0) - component.get("cached", 0),
                "sources": [(source, count / total) for source, count in sources.items()],
                "error": ", ".join(f"{source} {float(error):.1%}" for source, error in said.items()),
            }
        )
    return rows


def _text(scenario: dict[str, Any] | None) -> str:
    """As YAML; values of container environments stay out of a page that is made to be passed on."""
    return yaml.dump(_without_secrets(scenario), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=100)


def _without_secrets(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: dict.fromkeys(inner, "(not shown)")
            if key == "environment" and isinstance(inner, dict)
            else _without_secrets(inner)
            for key, inner in part.items()
        }
    return [_without_secrets(inner) for inner in part] if isinstance(part, list) else part
