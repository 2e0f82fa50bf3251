"""``metronome tools``: what is there, and what goes wrong."""

from __future__ import annotations

import pytest
from metronome.adapters.tools import environment


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("METRONOME_TOOLS", str(tmp_path))
    return tmp_path


def built(monkeypatch, command, tmp_path):
    source = tmp_path / "source"
    source.write_text("x")
    tools = {"copy": environment.BuiltTool("a copy", (source,), command, "cp")}
    monkeypatch.setattr(environment, "TOOLS", tools)


def test_list_says_what_is_installed(cli, monkeypatch, tmp_path):
    built(monkeypatch, ("cp", "-t", "{folder}"), tmp_path)
    assert "copy  not installed: a copy" in cli("tools", "list").output
    assert cli("tools", "install", "copy").exit_code == 0
    assert "copy  installed: a copy" in cli("tools", "list").output
    assert cli("tools", "install", "--missing").output == ""


def test_another_release_is_made_anew(cli, monkeypatch, tmp_path):
    built(monkeypatch, ("cp", "-t", "{folder}"), tmp_path)
    cli("tools", "install", "copy")
    (tmp_path / "source").write_text("y")
    assert not environment.installed("copy")
    assert "copy is in" in cli("tools", "install", "--missing").output
    assert (tmp_path / "copy" / "source").read_text() == "y"


def test_a_tool_that_cannot_be_made_is_one_message_and_not_installed(cli, monkeypatch, tmp_path):
    built(monkeypatch, ("ls", "/no/such/folder"), tmp_path)
    done = cli("tools", "install", "copy")
    assert done.exit_code == 2 and "ls failed:" in done.output and "No such file" in done.output
    built(monkeypatch, ("no-such-compiler",), tmp_path)
    done = cli("tools", "install", "copy")
    assert done.exit_code == 2 and "it needs cp" in done.output
    assert not environment.installed("copy")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nothing",), "one of scalesim"),
        ((), "give one, or --missing"),
        (("ns3", "--missing"), "give one, or --missing"),
    ],
)
def test_bad_usage(cli, arguments, why):
    done = cli("tools", "install", *arguments)
    assert done.exit_code == 2 and why in done.output
