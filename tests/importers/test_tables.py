"""Every flag that a server's own parser knows has a row in the table, and every row says one thing that can be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from metronome.orchestrator.importers.flags import table
from metronome.orchestrator.importers.servers import TOOLS
from metronome.orchestrator.scenario.schema import Instance
from metronome.orchestrator.serving.engines import kind_of

LISTS = {"vllm": "vllm-0.19.0-flags.txt", "sglang": "sglang-0.5.5-flags.txt", "trtllm": "trtllm-flags.txt"}
KINDS = {"text", "int", "number", "size", "switch", "toggle", "list", "ints", "optional", "json"}


def spellings(name):
    """Options as the tool's parser prints them: one a line, all its spellings."""
    lines = (Path(__file__).parent / LISTS[name]).read_text().splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("name", LISTS)
def test_every_flag_of_the_real_parser_is_in_the_table(name):
    rows = table(name)
    assert len(spellings(name)) == {"vllm": 231, "sglang": 273, "trtllm": 32}[name]
    for option in spellings(name):
        found = {rows.find("here", spelling)[0].name for spelling in option}
        assert len(found) == 1, option
        assert rows.find("here", option[0])[0].takes != "switch" or not any("--no-" in word for word in option[1:])


@pytest.mark.parametrize("name", LISTS)
def test_a_row_says_one_thing_that_can_be_done(name):
    tool = TOOLS[name]
    for flag in set(table(name).flags.values()):
        fates = [flag.sets, flag.reads, flag.nothing, flag.wrong if not flag.sets else ""]
        assert sum(map(bool, fates)) == 1, flag
        assert flag.takes in KINDS, flag
        assert not re.search(r"\w- \w", flag.nothing + flag.wrong), "a word broken by YAML's folding"
        assert not flag.values or flag.wrong, flag
        if flag.reads and flag.reads != "config":  # a file's flags are put in its place before
            assert flag.reads in tool.readers, flag
        if flag.sets:
            assert settable(tool.version, flag.sets), flag


def settable(version, path):
    """Whether the scenario has such a field, the engine's own names for it included."""
    if not path.startswith("engine."):
        return path in Instance.model_fields
    name = path.partition(".")[2]
    if name in kind_of(version).options.model_fields:
        return True
    try:  # another name that the engine takes
        kind_of(version).options.model_validate({"version": version, name: True})
    except ValueError as error:
        return "unknown key" not in str(error)
    return True
