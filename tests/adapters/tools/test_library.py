"""A shared library whose function answers, crashes, exits, hangs."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.tools.library import LibraryTool

from ...conftest import missing

CODE = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int64_t cost(int64_t bytes, int64_t factor) {
  if (bytes == 1) exit(0);
  if (bytes == 2) abort();
  if (bytes == 3) { volatile int *nowhere = 0; *nowhere = 1; }
  if (bytes == 4) sleep(60);
  if (bytes == 5) return 0;
  return bytes * factor;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        missing("a C compiler")
    folder = tmp_path_factory.mktemp("library")
    (folder / "sim.c").write_text(CODE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "sim.so", folder / "sim.c"], check=True)
    return str(folder / "sim.so")


def test_it_answers(library):
    tool = LibraryTool(library, "cost", 20)
    assert [tool.call("a read", size, 7) for size in (10, 2**40)] == [70, 7 * 2**40]


@pytest.mark.parametrize(
    ("size", "why"),
    [
        (1, "exited with code 0"),
        (2, "was killed by SIGABRT"),
        (3, "was killed by SIGSEGV"),
        (4, "did not answer within 2 s"),
        (5, "no positive whole number"),
    ],
)
def test_what_would_end_its_host_is_a_message_and_the_next_answer_comes(library, size, why):
    tool = LibraryTool(library, "cost", 2)
    with pytest.raises(ToolFailure, match=f"a read of {size}: .*{why}"):
        tool.call(f"a read of {size}", size, 1)
    assert tool.call("a read", 100, 1) == 100


def test_a_library_or_a_function_that_is_not_there(library):
    for path, function in ((library, "nothing"), ("/no/such.so", "cost")):
        with pytest.raises(ToolFailure, match="says: .*(nothing|no/such)"):
            LibraryTool(path, function, 20).call("a read", 1)
