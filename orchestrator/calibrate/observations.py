"""What was measured, in rows of time, and the same figures of a simulated run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..report.result import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCKS = 10  # stretches of a log that are taken as independent of one another; half of them are a half


@dataclass(frozen=True, slots=True)
class Times:
    """Of every request of a run in order of arrival, ms; ``tpot`` is NaN of one-token requests.

    ``first`` and ``end`` are when its first and last token came.
    """

    ttft: Floats
    tpot: Floats
    e2el: Floats
    first: Floats
    end: Floats

    @classmethod
    def of(cls, requests: Table) -> Times:
        """From a result's requests, which are by id: the order of arrival, and of the log."""
        arrival, first, end, output = (
            np.array(requests[name], dtype=float) for name in ("arrival", "first_token", "end", "output")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            tpot = np.where(output > 1, (end - first) / (output - 1), np.nan)
        scale = 1e-6  # of ns
        return cls((first - arrival) * scale, tpot * scale, (end - arrival) * scale, first * scale, end * scale)


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure, row by row in order of time.

    Attributes:
        name: ``ttft``, ``tpot`` or ``e2el``.
        real: what was measured, ms; NaN where nothing was.
        edges: None where a row is a request. Else row i is the mean of the requests from number ``edges[i]`` to before
            ``edges[i + 1]``, in the order in which they gave their first token (of ``ttft``) or ended.
    """

    name: str
    real: Floats
    edges: Ints | None = None

    def simulated(self, times: Times) -> Floats:
        """The same of a run, ms; NaN for groups of which it has no request."""
        values: Floats = getattr(times, self.name)
        if self.edges is None:
            return values
        order = np.argsort(times.first if self.name == "ttft" else times.end, kind="stable")
        ordered = values[order]
        groups = [ordered[a:b][~np.isnan(ordered[a:b])] for a, b in zip(self.edges, self.edges[1:], strict=False)]
        return np.array([group.mean() if len(group) else np.nan for group in groups])

    @property
    def block(self) -> Ints:
        """Of each row the block it is in, 0 to BLOCKS - 1."""
        return np.arange(len(self.real)) * BLOCKS // max(len(self.real), 1)


@dataclass(frozen=True, slots=True)
class Observations:
    """All that a log says, as one vector: metric after metric."""

    metrics: tuple[Metric, ...]

    @property
    def real(self) -> Floats:
        return np.concatenate([metric.real for metric in self.metrics])

    def simulated(self, times: Times) -> Floats:
        return np.concatenate([metric.simulated(times) for metric in self.metrics])

    @property
    def block(self) -> Ints:
        return np.concatenate([metric.block for metric in self.metrics])

    @property
    def metric(self) -> Ints:
        """Of each row the number of its metric."""
        return np.concatenate([np.full(len(metric.real), i) for i, metric in enumerate(self.metrics)])

    @property
    def mean(self) -> Floats:
        """Of each row the mean of its metric over the log: what errors are relative to."""
        return np.concatenate([np.full(len(m.real), np.nanmean(m.real)) for m in self.metrics])
