"""What every test may use."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from metronome.orchestrator.coupling.interrupts import SIGNALS

from .small import SMALL

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

# `make properties`: other examples each time. No deadlines: how long an example takes is the machine's affair.
settings.register_profile("random", settings.default, deadline=None)
# The suite: nobody's change fails on an example that nobody saw before.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


def missing(what: str, kind: str = "TOOLS") -> NoReturn:
    """Skips a test that needs ``what``; fails it where METRONOME_REQUIRE_TOOLS or _SHARED promises that it is there."""
    promise = f"METRONOME_REQUIRE_{kind}"
    if os.environ.get(promise) == "1":
        pytest.fail(f"needs {what}, which is absent although {promise}=1")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data that is not the project's own, beside the checkout."""
    if not SHARED.is_dir():
        missing("the data of ../shared/data", "SHARED")
    return SHARED


def import_line(bench: Path, workload: str, scenario: Path) -> list[object]:
    """The command line that makes ``scenario`` of a run in ``bench``, a folder of ../shared, as its README has it."""
    data = SHARED / "llmss_main"
    return [
        *("import", "llmservingsim", bench / "config.json"),
        *("--profiles", data / "profiler/perf", "--models", data / "configs/model"),
        *("--workload", data / "workloads" / workload, "--max-num-seqs", 128, "-o", scenario),
    ]


def interruptible(command: list[Any], **options: Any) -> subprocess.Popen[Any]:
    """A process that signals reach even where they are ignored here: a suite started with nohup, or in the
    background."""

    def reached() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(command, preexec_fn=reached, **options)


@pytest.fixture(autouse=True, scope="session")
def _a_model_that_hangs_can_be_interrupted() -> None:
    """Also in a suite that was started in the background, where SIGINT is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    """A command that ran in this process and was ended there ignores signals from then on, and whatever it starts."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def _kept_answers_are_the_tests_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What surrogates keep on disk is neither taken from the user nor left to him."""
    os.environ["METRONOME_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def wait_until_under_way(output: Path, process: subprocess.Popen, seconds: float = 90) -> None:
    """Until a run with ``--record`` has written its first block: it simulates, however slow the machine is."""
    journal, deadline = output / "recording" / "journal", time.monotonic() + seconds
    while not (journal.is_file() and journal.stat().st_size > 20_000):
        assert process.poll() is None, "the run ended before it was under way"
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail("the run did not get under way")
        time.sleep(0.1)


def need_tool(name: str) -> None:
    """Skips where an external simulator is not installed."""
    from metronome.adapters.tools import environment

    if not environment.installed(name):
        missing(f"{name}: metronome tools install {name}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the dev dependencies")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        missing("Chromium (Debian: apt install chromium)")
    with playwright.sync_playwright() as session:
        started = session.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


class Cli:
    """Runs `metronome ...` in this process, errors mapped as the real command maps them."""

    def __call__(self, *arguments: object) -> Result:
        from metronome.orchestrator.cli import main

        def entry(args: list[str]) -> None:
            import sys

            before, sys.argv = sys.argv, ["metronome", *args]
            try:
                main.main()
            finally:
                sys.argv = before

        import click

        @click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
        @click.argument("args", nargs=-1, type=click.UNPROCESSED)
        def proxy(args: tuple[str, ...]) -> None:
            entry(list(args))

        return CliRunner().invoke(proxy, ["--", *map(str, arguments)])


@pytest.fixture
def cli() -> Cli:
    return Cli()


@pytest.fixture
def small() -> dict:
    """`tests.small`, for a test to change."""
    return deepcopy(SMALL)
