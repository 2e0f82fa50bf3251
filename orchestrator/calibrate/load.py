"""Which requests are simulated: the scenario's, where they are the log's, else the log's own."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..scenario.loading import validate
from ..scenario.schema import Scenario
from ..workload.request import Request
from .log import Log

SAME_INPUT = 0.02  # mean prompts that differ by more are other ones: a server's chat template adds a few tokens


@dataclass(frozen=True, slots=True)
class Load:
    """The scenario to simulate, and where its requests are from, in words."""

    scenario: Scenario
    words: str


def of(log: Log, scenario: Scenario, requests: list[Request], folder: Path) -> Load:
    """``requests`` are the scenario's, in order of arrival; one of the log's own is written into ``folder``.

    Raises InputError where they are others than the log's, and the log does not say enough to take its own.
    """
    if log.outputs is None:  # samples know no request
        last = max(int(metric.edges[-1]) for metric in log.observations.metrics if metric.edges is not None)
        if last > len(requests):
            allowed = f"the scenario's workload has {len(requests)} only: it must be what the server was sent"
            raise InputError(str(log.path), "requests", last, allowed)
        return Load(scenario, "the scenario's requests")
    other = _differs(log, requests)
    if not other:
        return Load(scenario, "the scenario's requests, which are the log's")
    if log.inputs is None or log.arrival_s is None:
        lacks = "prompt lengths" if log.inputs is None else "times of sending (start_times)"
        raise InputError(str(log.path), "requests", None, f"{other}, and the log has no {lacks} to simulate its own")
    return Load(_of_log(log, scenario, folder), f"the log's requests, no prefix shared ({other})")


def _differs(log: Log, requests: list[Request]) -> str:
    """How the scenario's workload is another than the log's; empty if it is not."""
    if log.outputs is None:
        return ""
    if len(requests) != len(log.outputs):
        return f"the scenario has {len(requests)} requests, the log {len(log.outputs)}"
    outputs = np.array([request.output_tokens for request in requests])
    if (outputs != log.outputs).any():
        number = int(np.argmax(outputs != log.outputs))
        return f"request {number} has {outputs[number]} output tokens in the scenario, {log.outputs[number]} in the log"
    if log.inputs is not None:
        ours, theirs = np.mean([request.input_tokens for request in requests]), np.mean(log.inputs)
        if abs(ours / theirs - 1) > SAME_INPUT:
            return f"prompts have {ours:,.1f} tokens in the mean in the scenario, {theirs:,.1f} in the log"
    return ""


def _of_log(log: Log, scenario: Scenario, folder: Path) -> Scenario:
    if log.inputs is None or log.arrival_s is None or log.outputs is None:
        raise TypeError("only of a log that says all of its requests")
    path = folder / "requests.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("arrival", "input", "output"))
        for arrival, inputs, outputs in zip(log.arrival_s, log.inputs, log.outputs, strict=True):
            writer.writerow((format(arrival, ".9f"), inputs, outputs))
    columns = {"arrival": "arrival", "input_tokens": "input", "output_tokens": "output"}
    data = scenario.model_dump(mode="json", exclude_none=True)
    data["workload"] = {"format": "csv", "path": str(path.resolve()), "columns": columns}
    return validate(data, "scenario")
