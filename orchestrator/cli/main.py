"""The command line: ``metronome COMMAND``. Commands are loaded when called, so that `--help` is quick."""

from __future__ import annotations

import io
import os
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from ..errors import MetronomeError
from .answers import say
from .signals import install

#: command -> (module, what it does); the function has the command's name with _ for -.
COMMANDS = {
    "run": ("run", "Run a scenario, print the table, write the results."),
    "sweep": ("sweep", "Run a scenario at many points, and say which nothing beats."),
    "capacity": ("capacity", "Find the highest load at which a scenario keeps an SLO."),
    "plan": ("plan_cluster", "Find the cheapest cluster that holds a load under an SLO."),
    "report": ("report", "Write a run's report.html, or several runs side by side."),
    "debug": ("debug", "Step through a run both ways, and ask why."),
    "view": ("view", "See a run in a browser, step through it, ask why."),
    "replay": ("replay", "Run a recording again without its components."),
    "diff": ("diff", "Find where two recordings first differ."),
    "validate": ("validate", "Check a scenario without simulating it."),
    "import": ("imports", "Turn another tool's set-up into a scenario."),
    "compare": ("compare", "Compare a run with a real one, or with another run."),
    "calibrate": ("calibrate", "Find which part is off against a real server's log."),
    "profile": ("profile", "Measure a scenario's operations on this machine's device."),
    "components": ("components", "List the component models that can be named."),
    "conformance": ("conformance", "Check a component against the contract."),
    "tools": ("tools", "Install the simulators that adapters drive."),
    "new-adapter": ("new_adapter", "Write a package for a component model of your own."),
    "certs": ("certs", "Make throw-away certificates for components on a network."),
    "cleanup": ("cleanup", "Remove what a killed run has left behind."),
    "deploy": ("deploy", "Write the manifests that run a scenario's components."),
    "serve-component": ("serve_component", "Host a component model as a process of its own."),
    "serve-island": ("serve_island", "Host several components, wired to one another, as one process."),
}


class LazyGroup(click.Group):
    """Knows its commands by name only."""

    def invoke(self, ctx: click.Context) -> Any:
        """Whoever reads may close the pipe, having all it wants: neither click's way to end then (1) nor rich's."""
        try:
            return super().invoke(ctx)
        except (BrokenPipeError, SystemExit) as end:
            if not isinstance(end, BrokenPipeError) and not isinstance(end.__context__, BrokenPipeError):
                raise
            _print_nowhere()
            raise click.exceptions.Exit(0) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from ..strict import did_you_mean  # brings pydantic, which `--help` can do without

            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"No such command '{args[0]}'; {hint}known: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"metronome.orchestrator.cli.{COMMANDS[name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="metronome-cosim", prog_name="metronome")
def cli() -> None:
    """Metronome simulates LLM serving on any hardware you have a model of.

    Start with `metronome run`; it needs no data and no GPU.

    Exit codes: 0 success, 2 bad usage or input, 3 a component failed, 130 interrupted, 143 terminated,
    129 hung up.
    """


def main() -> None:
    """Entry point: every expected error is one message and an exit code, never a traceback; a warning is one line."""
    install()
    sys.stdout, sys.stderr = (stream or Nowhere() for stream in (sys.stdout, sys.stderr))  # None: it was closed
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show
            cli(standalone_mode=False)
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.exceptions.Abort as error:  # what click makes of a KeyboardInterrupt
        sys.exit(_interrupted(error.__cause__))
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        sys.exit(2)
    except MetronomeError as error:
        say(f"metronome: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt as error:
        sys.exit(_interrupted(error))
    except OSError as error:  # a file of the user's that no reader or writer has a word of its own for
        say(f"metronome: {error.filename or 'what is printed'}: cannot be read or written: {error.strerror}")
        if error.filename is None:
            _print_nowhere()
        sys.exit(2)
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # it came while a class was made
            sys.exit(_interrupted(error.__cause__))
        raise


class Nowhere(io.StringIO):
    """In place of a standard output or error that is closed."""

    def write(self, text: str) -> int:
        return len(text)


def _interrupted(error: BaseException | None) -> int:
    """The exit code, and what to say of it where nobody has yet."""
    if not getattr(error, "told", False):
        say(f"metronome: interrupted{f' ({error})' if str(error or '') else ''}")
    code: int = getattr(error, "exit_code", 130)
    return code


def _print_nowhere() -> None:
    """For what Python still has to write."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(message: Warning | str, *where: Any, **more: Any) -> None:
    say(f"metronome: warning: {message}")
