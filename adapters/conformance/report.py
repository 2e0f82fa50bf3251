"""Running the checks on a component, and telling what came of them: lines for people, JUnit for machines."""

from __future__ import annotations

import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .checks import CHECKS, Subject, Violation

LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """One check: ``problem`` is empty where it passed. ``rule`` says what it checks."""

    check: str
    rule: str
    problem: str
    seconds: float


def run_checks(subject: Callable[[], Subject], limit_s: float = LIMIT_S) -> Iterable[Result]:
    """Every check, one after another, each on a subject of its own and for at most ``limit_s``.

    A check that hangs is left behind in a thread that ends with the process.
    """
    for check in CHECKS:
        problems: list[str] = []

        def work(check: Callable[[Subject], None] = check, problems: list[str] = problems) -> None:
            try:
                check(subject())
            except Violation as violation:
                problems.append(str(violation))
            except Exception as error:  # whatever a component does is a finding about it
                problems.append(f"{type(error).__name__}: {error}")

        started = time.perf_counter()
        worker = threading.Thread(target=work, daemon=True, name=check.__name__)
        worker.start()
        worker.join(limit_s)
        if worker.is_alive():
            problems.append(f"is not done after {limit_s:g} s: an answer does not come")
        rule = (check.__doc__ or "").strip().splitlines()[0]
        yield Result(check.__name__, rule, "; ".join(problems), time.perf_counter() - started)


def write_junit(path: Path, suites: dict[str, list[Result]]) -> None:
    """JUnit XML: a suite a way to reach the component, a case a check."""
    root = ET.Element("testsuites")
    for name, results in suites.items():
        failed = sum(1 for result in results if result.problem)
        suite = ET.SubElement(root, "testsuite", name=name, tests=str(len(results)), failures=str(failed))
        for result in results:
            case = ET.SubElement(suite, "testcase", classname=name, name=result.check, time=f"{result.seconds:.3f}")
            if result.problem:
                ET.SubElement(case, "failure", message=result.problem).text = result.rule
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
