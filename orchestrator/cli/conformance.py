"""``metronome conformance``."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..coupling import registry
from ..errors import ComponentFailure, InputError
from ..scenario.yaml import read_mapping
from .answers import json_option, show_json

START_S = 30.0


@click.command("conformance")
@click.argument("name", required=False)
@click.option("--address", help="A component that is served already: unix:PATH or a loopback HOST:PORT.")
@click.option("--cmd", help="A command that starts a component and prints the handshake line.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML: the component's configuration.",
)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write the results as JUnit XML.")
@click.option(
    "--limit", type=click.FloatRange(min=0.1), default=60, show_default=True, help="Seconds a check may take."
)
@json_option
def command(
    name: str | None,
    address: str | None,
    cmd: str | None,
    config: Path | None,
    junit: Path | None,
    limit: float,
    as_json: bool,
) -> None:
    """Check a component against the contract: time, promises, refusals, snapshots, isolation.

    NAME, one of `metronome components` or module:Class, is checked in this process and over gRPC; --address
    and --cmd check whatever speaks the contract there, in any language. Exit code 1 if a check fails.

    \b
      metronome conformance bandwidth-latency --config memory.yaml --junit report.xml
      metronome conformance --cmd "./my-simulator --serve"
    """
    from metronome.adapters.conformance.report import Result, run_checks, write_junit

    if sum(bool(way) for way in (name, address, cmd)) != 1:
        raise InputError("conformance", "NAME, --address, --cmd", None, "exactly one of them")
    say: Callable[[str], None] = (lambda text: None) if as_json else click.echo
    suites: dict[str, list[Result]] = {}
    with ExitStack() as stack:
        for way, subject in _subjects(name, address, cmd, _read(config), stack):
            say(f"{way}:")
            suites[way] = []
            for result in run_checks(subject, limit):
                suites[way].append(result)
                say(f"  {'FAIL' if result.problem else 'ok  '}  {result.check}: {result.problem or result.rule}")
        if junit:
            write_junit(junit, suites)
        failed = sum(1 for results in suites.values() for result in results if result.problem)
        total = sum(map(len, suites.values()))
        say(f"{total - failed} of {total} checks passed")
        if as_json:
            show_json({way: [asdict(result) for result in results] for way, results in suites.items()})
        if failed:
            sys.stdout.flush()
            stack.close()
            sys.exit(1)


def _read(path: Path | None) -> dict[str, Any]:
    return read_mapping(path) if path else {}


def _subjects(
    name: str | None, address: str | None, cmd: str | None, config: dict[str, Any], stack: ExitStack
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Ways to reach the component, each with what makes a subject of it."""
    import grpc
    from metronome.adapters.conformance.sessions import local, over_wire, takes_frames
    from metronome.component.v1 import codec
    from metronome.hwmodels.interface import ConfigError

    if name:
        from metronome.adapters.host.server import start

        try:
            model = registry.find(name)
            model(config, 0)
        except registry.UnknownComponent as error:
            raise InputError("conformance", "NAME", name, str(error)) from None
        except ConfigError as error:
            raise InputError("conformance", f"--config: {error.field}", error.value, error.allowed) from None
        yield f"{name} in process", lambda: local(model, config)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server, _, address = start(model, f"unix:{folder}/c.sock", own=config, framed=True)
        stack.callback(server.stop, None)
        way = f"{name} over gRPC"
    elif cmd:
        address, way = stack.enter_context(_started(cmd)), cmd
    else:
        way = str(address)
    channel = stack.enter_context(grpc.insecure_channel(address, options=codec.CHANNEL_OPTIONS))
    try:
        grpc.channel_ready_future(channel).result(timeout=START_S)
    except grpc.FutureTimeoutError:
        raise ComponentFailure(way, f"cannot be reached within {START_S:g} s", "connecting") from None
    yield way, lambda: over_wire(channel, config)
    where = str(address)
    if takes_frames(channel, where):
        framed = f"{name} over frames" if name else f"{way}, over frames"
        yield framed, lambda: over_wire(channel, config, where)


@contextmanager
def _started(cmd: str) -> Iterator[str]:
    """The command's component, ended afterwards; gives its address. Raises InputError, ComponentFailure."""
    from ..coupling.launch.endpoint import handshake_address

    arguments = shlex.split(cmd)
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "METRONOME_COMPONENT_COOKIE": "1"},
        )
    except (OSError, IndexError) as error:
        raise InputError("conformance", "--cmd", cmd, f"cannot be started: {error}") from None
    try:
        line = process.stdout.readline().decode(errors="replace").strip() if process.stdout else ""
        address = handshake_address(line)
        if address is None:
            raise ComponentFailure(
                cmd, f"said {line!r} instead of the handshake line 1|MINOR|unix or tcp|ADDRESS|grpc", "starting"
            )
        yield address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
