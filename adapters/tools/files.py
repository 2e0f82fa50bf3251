"""Running a command-line tool for one answer: own scratch folder, time limit, output read strictly."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .failure import ToolFailure, ended
from .keeper import keeper
from .progress import CALLS


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed, and the files it wrote of those that were asked for."""

    printed: str
    files: Mapping[str, str]


def run(
    command: Sequence[str],
    inputs: Mapping[str, str | bytes],
    asked: str,
    timeout_s: float,
    ok: Sequence[int] | None,
    keep: bool,
    outputs: Sequence[str] = (),
) -> Ran:
    """Run a command in a scratch folder with those files. ``ok``: exit codes of success; None: they say nothing.

    No shell. The whole process group ends at the time limit. Raises ToolFailure; a signal is always one.
    """
    kept_by = keeper()
    folder = Path(tempfile.mkdtemp(prefix="metronome-command-"))
    try:
        for name, text in inputs.items():
            path = (folder / name).resolve()
            if folder.resolve() not in path.parents:
                raise ToolFailure(asked, f"the input file {name} would lie outside the scratch folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolFailure(asked, f"{command[0]} cannot be started: {error.strerror}") from None
        kept_by.started(process.pid, "" if keep else str(folder))
        try:
            with CALLS.one():
                printed = process.communicate(timeout=timeout_s)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed = process.communicate()[0].decode(errors="replace")
            raise ToolFailure(asked, f"{command[0]} was not done after {timeout_s:g} s", printed) from None
        finally:  # what it has started and left, too
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kept_by.ended(process.pid)
        code = process.returncode
        if code < 0:
            raise ToolFailure(asked, f"{command[0]} {ended(code)}", printed)
        if ok is not None and code not in ok:
            success = ", ".join(map(str, ok))
            raise ToolFailure(asked, f"{command[0]} {ended(code)}; {success} would be success", printed)
        found = {name: folder / name for name in outputs}
        return Ran(printed, {name: p.read_text(errors="replace") for name, p in found.items() if p.is_file()})
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def read_number(output: str, pattern: re.Pattern[str], asked: str) -> float:
    """The one number that the pattern's group ``value`` finds. Raises ToolFailure for none, several, or no number."""
    found = {match["value"].strip() for match in pattern.finditer(output)}
    if len(found) != 1:
        raise ToolFailure(
            asked, f"the pattern {pattern.pattern!r} finds {len(found)} values in the output, not one", output
        )
    text = found.pop()
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        raise ToolFailure(asked, f"{text!r} is no number", output) from None
    if not 0 < number < float("inf"):
        raise ToolFailure(asked, f"{text} is no time: tools say 0 or infinity where they have failed", output)
    return number
