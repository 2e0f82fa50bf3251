"""The picture of docs/availability.md, from the runs of `make day`: ``python -m tests.fleet.picture [FOLDER]`` (extra
``study``)."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "metronome"  # the same picture, the same bytes
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from metronome.orchestrator.report.result import Result  # noqa: E402

from ..conftest import ROOT  # noqa: E402
from .day import SLO_MS  # noqa: E402

BIN_S = 600


def means(result: Result, column: str) -> tuple[np.ndarray, np.ndarray]:
    """(hours, means of a column of the time series over ten minutes)."""
    place = result.series.columns.index(column)
    values = np.array([row[place] for row in result.series.rows], dtype=float)
    values = values[: len(values) // BIN_S * BIN_S].reshape(-1, BIN_S).mean(axis=1)
    return np.arange(len(values)) * BIN_S / 3600, values


def late(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """(hours, requests sent in ten minutes that missed the SLO)."""
    columns = [result.requests.columns.index(name) for name in ("arrival", "ttft")]
    rows = np.array([[row[column] for column in columns] for row in result.requests.rows], dtype=float)
    missed = rows[rows[:, 1] > SLO_MS * 1e6, 0] / 1e9
    counts = np.bincount((missed // BIN_S).astype(int))
    return np.arange(len(counts)) * BIN_S / 3600, counts


def main(folder: Path) -> None:
    figure, axes = plt.subplots(3, 1, figsize=(8, 6), sharex=True)
    for name, style in (("without", {"color": "0.6"}), ("with failures", {"color": "tab:blue", "linewidth": 1})):
        result = Result.read(folder / name.replace(" ", "-"))
        axes[0].plot(*means(result, "instances"), label=name, **style)
        axes[1].plot(*means(result, "waiting"), **style)
        axes[2].step(*late(result), where="post", **style)
    axes[0].set_ylabel("instances that serve")
    axes[1].set_ylabel("requests waiting")
    axes[2].set_ylabel(f"later than {SLO_MS / 1000:.0f} s,\nevery ten minutes")
    axes[2].set_xlabel("hour of the day")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "pictures" / "day.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/day"))
