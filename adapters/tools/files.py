"""Running a command-line tool for one answer: own scratch folder, time limit, output read strictly."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .failure import ToolFailure


def run(
    command: Sequence[str], inputs: Mapping[str, str], asked: str, timeout_s: float, ok: Sequence[int], keep: bool
) -> str:
    """Run a command in a scratch folder with those files; returns what it printed and wrote to ``output``.

    No shell. The whole process group ends at the time limit. Raises ToolFailure.
    """
    folder = Path(tempfile.mkdtemp(prefix="metronome-command-"))
    try:
        for name, text in inputs.items():
            path = (folder / name).resolve()
            if folder.resolve() not in path.parents:
                raise ToolFailure(asked, f"the input file {name} would lie outside the scratch folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        try:
            process = subprocess.Popen(
                list(command), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ToolFailure(asked, f"{command[0]} cannot be started: {error.strerror}") from None
        try:
            printed = process.communicate(timeout=timeout_s)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed = process.communicate()[0].decode(errors="replace")
            raise ToolFailure(asked, f"{command[0]} was not done after {timeout_s:g} s", printed) from None
        if process.returncode not in ok:
            code = process.returncode
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
            raise ToolFailure(asked, f"{command[0]} {how}; {', '.join(map(str, ok))} would be success", printed)
        written = folder / "output"
        return printed + (written.read_text(errors="replace") if written.is_file() else "")
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
