"""`make bench`: what a run costs, as medians and ratios. A benchmark, not a test.

    python -m tests.bench [--rounds N] [--write]

With ../shared/data present it measures the published peer's run of Llama-3.1-8B, else the quick start. ``--write``
replaces the figures of docs/performance.md. Machines are shared and noisy: compare ratios and medians of one table,
never two tables.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..conftest import ROOT
from . import curves, runs

PAGE = ROOT / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="replace the figures of docs/performance.md")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in page(options.rounds, Path(folder)):
            print(line, flush=True)
            lines.append(line)
    if options.write:
        head = re.split(r"^## ", PAGE.read_text(), maxsplit=1, flags=re.M)[0]
        PAGE.write_text("\n".join([head.rstrip(), "", *lines, ""]))


def page(rounds: int, folder: Path) -> Iterator[str]:
    """All that is measured, in Markdown."""
    yield "## On which machine"
    yield ""
    yield f"{os.cpu_count()} cores ({_processor()}), Python {platform.python_version()}; medians of {rounds} alternating runs."
    sections = {
        "One run, in its ways": runs.ways(rounds, folder),
        "By batch": curves.batches(rounds, folder),
        "By instances": curves.instances(rounds, folder),
        "Over workers": curves.workers(rounds, folder),
        "By requests": curves.requests(max(1, rounds // 2), folder),
        "Recorded, replayed, gone back in": runs.recordings(rounds, folder),
        "A sweep": curves.sweep(folder),
        "A message to a component and back": runs.round_trips(folder),
        "All to all of 512 devices over a fat tree": runs.collective(rounds),
    }
    for title, section in sections.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield from section


def _processor() -> str:
    """As the system names it."""
    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*: (.+)$", said, re.M)
    return found[1] if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
