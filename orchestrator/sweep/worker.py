"""One point, in a process of its own: overrides in, a row of figures out."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from threading import Thread
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from ..api import run
from ..errors import ExtensionFailure, InputError, MetronomeError, let_interrupts_through
from ..report.result import Result
from ..scenario.loading import load
from ..scenario.schema import Scenario
from . import costs
from .points import PointRow

UNSTEADY = ("startup_s", "wall_s")  # figures of the machine, not of the scenario

#: A scenario's source, overrides, and what else the work takes.
Task = tuple[Any, ...]
Answer = TypeVar("Answer")
Work = Callable[..., Answer]


class Stopped(KeyboardInterrupt):
    """Whoever waits for this process's task wants it no more, or what it has so far."""


class Said(NamedTuple):
    """Of a task that is in work."""

    text: Any


_ASKED: list[Connection] = []  # who waits for what this process does


def tell(text: Any) -> None:
    """Tell whoever waits for this process's task how far it is; nobody where it is a cluster's."""
    for asked in _ASKED:
        with suppress(OSError):
            asked.send(Said(text))


def ask(text: Any) -> Any:
    """As `tell`; waits for the answer."""
    (asked,) = _ASKED
    asked.send(Said(text))
    return asked.recv()


def serve(tasks: Connection, work: Work[Any]) -> None:
    """Do tasks until the other end is closed, or whoever holds it is gone.

    Ctrl-C is the parent's, who decides what is still wanted; SIGTERM ends the run in work as any run ends, so that its
    components end too. Where nothing is in work it ends the process at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the parent has it blocked while we start
    Thread(target=_end_with_parent, daemon=True).start()
    _ASKED[:] = [tasks]
    try:
        while True:
            task: Task = tasks.recv()
            signal.signal(signal.SIGTERM, _stop)
            tasks.send(work(*task))
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except (EOFError, OSError):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except Stopped:
        sys.exit(128 + signal.SIGTERM)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what follows is ending components
    raise Stopped


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def evaluate(source: str, overrides: dict[str, Any]) -> PointRow:
    """``status`` (complete, failed or refused), ``error``, ``warnings``, ``devices`` (accelerators that serve, by type)
    ``prices`` of those that are the scenario's own, and ``figures`` of one run; never raises for a bad point."""
    row = new_row()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", category)
        try:
            scenario, folder = load(source, overrides)
            row |= {"devices": devices(scenario), "prices": costs.own(scenario)}
            result = run(scenario, folder=folder)
            row |= {"status": result.status, "figures": figures(result)}
            row["warnings"] += result.metrics["metronome"].get("warnings", ())
        except InputError as error:
            row |= {"status": "refused", "error": str(error)}
        except MetronomeError as error:
            found = figures(error.result) if isinstance(error.result, Result) else {}
            row |= {"status": "failed", "error": str(error), "figures": found}
        except BaseException as error:  # ours or an extension's: a row like any other, with the place it came from
            let_interrupts_through(error)
            row |= {"status": "failed", "error": str(ExtensionFailure(error))}
    row["warnings"] = sorted({*row["warnings"], *(str(each.message) for each in said)})
    return row


def new_row(status: str = "complete", error: str = "") -> PointRow:
    """A row that has no figures yet."""
    return {"status": status, "error": error, "warnings": [], "devices": {}, "prices": {}, "figures": {}}


def devices(scenario: Scenario) -> dict[str, int]:
    """Accelerators that serve instances, by type."""
    kinds = {node.name: scenario.device_name(node.accelerators.type) for node in scenario.cluster.nodes}
    used = {device for instance in scenario.instances for device in instance.all_devices}
    return dict(sorted(Counter(kinds[node] for node, _ in used).items()))


def figures(result: Result) -> dict[str, Any]:
    """Every number of result.json; those under ``metronome`` by their own names."""
    own = result.metrics["metronome"]
    found = {name: value for name, value in result.metrics.items() if _is_number(value)}
    return found | {name: value for name, value in own.items() if _is_number(value) and name not in UNSTEADY}


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
