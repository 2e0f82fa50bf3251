"""`make accuracy`: every real reference at hand against the simulation, as one table (docs/accuracy.md).

    python -m tests.accuracy [--write]

Exits with 1 if a row's error is more than half a percentage point worse than in the committed table.
``--write`` replaces that table.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from ..conftest import ROOT, SHARED
from . import api_server, collectives, coverage, kernels, power, serving, steps
from .rows import Row, parse, render

TABLE = ROOT / "docs/accuracy.md"
TOLERANCE = 0.005
#: run -> where its result is
OUTPUTS = {**{name: name for name in serving.RUNS}, "H100 x 4 Llama-3.1-70B": serving.SD[0].replace("/", "-")}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="replace the committed table")
    write = parser.parse_args().write
    if not SHARED.is_dir():
        print("no reference data: ../shared/data is absent")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recent, older = serving.vllm_rows(SHARED, folder), serving.old_rows(SHARED, folder)
        runs = [(out, [row for row in (*recent, *older) if row.reference == name]) for name, out in OUTPUTS.items()]
        sections = [
            ("vLLM 0.19, 300 ShareGPT requests on RTX PRO 6000", recent),
            ("Older profiles: fp16 runs on A6000 and H100", older),
            ("Median time between tokens on H100, by roofline", steps.rows(SHARED, folder)),
            ("Power", [*power.pulse_rows(SHARED, folder), *power.batch_rows(SHARED, folder)]),
            ("API server, measured with a model that sleeps", api_server.rows()),
            ("Collectives", collective_rows()),
            ("Kernels by roofline", kernels.rows(SHARED)),
            ("Error bars", coverage.rows(SHARED, folder, [(folder / out, some) for out, some in runs])),
        ]
    text = render(sections)
    print(text)
    committed = TABLE.read_text()
    worse = regressions(parse(committed), sections)
    for line in worse:
        print(f"worse than committed: {line}", file=sys.stderr)
    if write:
        head = re.split(r"^## ", committed, maxsplit=1, flags=re.M)[0]
        TABLE.write_text(head.rstrip() + "\n\n" + text)
        return 0
    return 1 if worse else 0


def collective_rows() -> list[Row]:
    rows = []
    for row in collectives.rows(SHARED):
        rows.append(Row(row.name, f"median of {row.points}", None, None, row.median, None))
        rows.append(Row(row.name, f"P90 of {row.points}", None, None, row.p90, None))
    return rows


def regressions(committed: dict[tuple[str, str], float], sections: list[tuple[str, list[Row]]]) -> list[str]:
    """Rows whose error has grown by more than the tolerance."""
    return [
        f"{row.reference}, {row.metric}: {row.error:+.2%}, was {committed[row.key]:+.2%}"
        for _, rows in sections
        for row in rows
        if row.key in committed and abs(row.error) > abs(committed[row.key]) + TOLERANCE
    ]


if __name__ == "__main__":
    sys.exit(main())
