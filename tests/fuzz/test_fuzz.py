"""The short form: some hundred bad inputs over every reader. ``make fuzz`` is the long one."""

from __future__ import annotations

from random import Random

import pytest

from .good import SCENARIO
from .readers import Readers

EACH = 25


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    return Readers(tmp_path_factory.mktemp("fuzz"), SCENARIO)


NAMES = (
    "scenario",
    "scenario text",
    "set",
    "component",
    "workload",
    "bundle",
    "old bundle",
    "import",
    "journal",
    "reference",
    "command line",
    "debugger",
    "protocol",
)


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_one_message(readers, name):
    for i in range(EACH):
        problem = readers.all[name](Random(f"short {name} {i}"))
        assert not problem, f"input {i}: {problem}"


def test_every_reader_is_tried(readers):
    assert set(readers.all) == set(NAMES)
