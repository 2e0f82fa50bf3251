"""A recording's folder: the journal, and copies of the files the scenario names.

``journal`` holds every event and every exchange; its header the scenario, where it was, and what each
component said of itself. A recording stands alone: it is replayed without the components, the scenario
file or the workload.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metronome.hwmodels.interface import Description, Feature, TimePolicy

from ..coupling.components import ComponentSpec
from ..coupling.link import Link
from ..errors import InputError
from ..kernel.queue import Event
from ..scenario.components import ComponentOptions
from ..scenario.inputs import Inputs
from ..scenario.loading import validate
from ..scenario.schema import Scenario
from ..source import Source
from .exchange import Tape
from .journal import Journal, JournalWriter, decoding, is_journal
from .link import Live, TapedLink

JOURNAL, INPUTS = "journal", "inputs"


class TapingSource:
    """Components of ``source``, what they say kept on a tape. ``opened`` is called with all links before time 0."""

    def __init__(self, source: Source, tape: Tape) -> None:
        self._source, self.tape = source, tape

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        return self._source.specify(scenario, folder)

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        with self._source.open(specs) as links:
            yield {
                name: TapedLink(name, link.description, link.remote, self.tape, Live(None, link), image=link.image)
                for name, link in links.items()
            }


class RecordingSource:
    """Components of ``source``, everything recorded into ``folder``; ``writer`` exists once they are open."""

    def __init__(self, source: Source, folder: Path, scenario: Scenario, inputs: Inputs) -> None:
        self._source, self.folder, self._scenario, self._inputs = source, folder, scenario, inputs
        self.writer: JournalWriter | None = None

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        return self._source.specify(scenario, folder)

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        with self._source.open(specs) as links:
            self._make_room()
            components = {spec.name: _component(spec, links[spec.name]) for spec in specs}
            self.writer = JournalWriter(self.folder / JOURNAL, self._header(components))
            yield {
                name: TapedLink(name, link.description, link.remote, self.writer, Live(None, link), image=link.image)
                for name, link in links.items()
            }

    def _make_room(self) -> None:
        """An earlier recording in its place is replaced; anything else is not touched. Raises InputError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path.name for path in self.folder.iterdir())
        if there and not is_journal(self.folder / JOURNAL):
            raise InputError(str(self.folder), "recording", None, "is there already and is no recording; move it away")
        foreign = [name for name in there if name not in (JOURNAL, INPUTS)]
        if foreign:
            what = f"holds {', '.join(foreign)}, which is no part of a recording; move it away"
            raise InputError(str(self.folder), "recording", None, what)
        shutil.rmtree(self.folder / INPUTS, ignore_errors=True)
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def _header(self, components: Mapping[str, Any]) -> dict[str, Any]:
        copies: dict[str, str] = {}
        for number, (name, path) in enumerate(self._inputs.found.items()):
            if path.is_dir():
                path = path / "config.json"
            if not path.is_file():  # asked for, and not there
                continue
            # A model is named after its file and the folders it is in: ORG/NAME.json, or ORG/NAME/config.json.
            kept = Path(INPUTS, str(number), *path.absolute().parts[1:][-3:])
            (self.folder / kept).parent.mkdir(parents=True)
            shutil.copyfile(path, self.folder / kept)
            copies[name] = str(kept)
        return {
            "metronome": version("metronome-cosim"),
            "scenario": _without_secrets(self._scenario.model_dump(mode="json")),
            "folder": str(self._inputs.folder.resolve()),
            "inputs": copies,
            "components": components,
        }


class EventsRecorded:
    """Instrument that writes every event down."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer

    def event(self, event: Event) -> None:
        self._writer.see(event)


class RecordedSource:
    """The components of a recording: as they described themselves, their answers from ``tape``."""

    def __init__(self, header: Mapping[str, Any], tape: Tape) -> None:
        self._components, self.tape = header["components"], tape

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        return [
            ComponentSpec(
                name,
                said["kind"],
                rank,
                said["model"],
                {},
                scenario.components.get(name, ComponentOptions()),
                scenario.seed,
            )
            for rank, (name, said) in enumerate(self._components.items())
        ]

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        links: dict[str, Link] = {}
        for spec in specs:
            said = self._components[spec.name]
            description = _described(said["description"])
            live, remote = Live(None), said["remote"]
            links[spec.name] = TapedLink(spec.name, description, remote, self.tape, live, image=said["image"])
        yield links


def _without_secrets(scenario: dict[str, Any]) -> dict[str, Any]:
    """A recording is handed on: what containers are given by their environment, and where tokens are, stays here."""
    for options in scenario["components"].values():
        for part, fields in (("container", ("environment",)), ("address", ("token_file", "token_env"))):
            for field in fields if options.get(part) else ():
                options[part].pop(field, None)
    return scenario


def _component(spec: ComponentSpec, link: Link) -> dict[str, Any]:
    said = asdict(link.description)
    said["op_kinds"], said["features"] = sorted(said["op_kinds"]), sorted(said["features"])
    model = spec.model if spec.facts is None else link.description.name
    return {"kind": spec.kind, "model": model, "remote": link.remote, "image": link.image, "description": said}


def _described(said: Mapping[str, Any]) -> Description:
    return Description(
        **{
            **said,
            "time_policy": TimePolicy(said["time_policy"]),
            "op_kinds": frozenset(said["op_kinds"]),
            "features": frozenset(Feature(feature) for feature in said["features"]),
        }
    )


class Recording:
    """A recording opened for reading: a folder with a journal, or the results folder that holds one."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for what is no recording."""
        folder = path / "recording" if (path / "recording" / JOURNAL).is_file() else path
        if not (folder / JOURNAL).is_file():
            raise InputError(
                str(path),
                "recording",
                None,
                "has no journal: the run was not recorded (--record), or ended before its first event",
            )
        self.folder = folder
        self.journal = Journal(folder / JOURNAL)
        header = self.journal.header
        with decoding(folder / JOURNAL):
            scenario = header["scenario"]
            copies = {name: folder / kept for name, kept in header["inputs"].items()}
            original = Path(header["folder"])
            for said in header["components"].values():
                _described(said["description"])
                bool(said["remote"])
                for field in ("kind", "model", "image"):
                    said[field].encode()
        self.scenario = validate(scenario, f"{folder / JOURNAL}")
        for name, kept in copies.items():
            if folder.resolve() not in kept.resolve().parents:
                raise InputError(str(folder), f"inputs.{name}", str(kept), "lies outside the recording")
        self.inputs = Inputs(original, copies)

    def source(self, tape: Tape) -> RecordedSource:
        return RecordedSource(self.journal.header, tape)
