"""The debugger's command line: gdb's names over a `DebugSession`.

Unambiguous beginnings of names do, an empty line repeats the last command, `help` teaches. In batch mode
commands come from a script and are echoed, so that the output reads as a transcript.
"""

from __future__ import annotations

import cmd
import shlex
from collections.abc import Iterable
from inspect import cleandoc
from typing import IO

from ..errors import InputError, MetronomeError
from . import looks, state
from .console_inside import InsideCommand
from .console_stops import StopCommands
from .console_why import WhyCommand
from .expressions import number
from .moves import Moves
from .ported import Ported
from .session import DebugSession
from .stops import Stop
from .told import STATELESS

ALIASES = {
    "b": "break",
    "tb": "tbreak",
    "c": "continue",
    "s": "step",
    "n": "next",
    "si": "stepi",
    "p": "print",
    "l": "list",
    "rs": "reverse-step",
    "rn": "reverse-next",
    "rc": "reverse-continue",
    "i": "info",
    "q": "quit",
    "r": "run",
    "fin": "finish",
    "where": "bt",
    "d": "delete",
    "u": "until",
}
INFO = {
    "queue": looks.queue,
    "components": looks.components,
    "requests": looks.requests,
    "blocked": looks.blocked,
}


class Console(StopCommands, WhyCommand, InsideCommand, cmd.Cmd):
    """One session at a terminal, or with ``batch`` on a script. ``failed`` counts commands that were refused."""

    intro = "Metronome debugger. `help` lists the commands; the run rests before its first event."

    def __init__(
        self, session: DebugSession, stdin: IO[str] | None = None, stdout: IO[str] | None = None, color: bool = False
    ) -> None:
        cmd.Cmd.__init__(self, stdin=stdin, stdout=stdout)
        self.use_rawinput = stdin is None
        self.session, self.moves, self._color = session, Moves(session), color
        self.failed = 0
        self.folder = ""
        self.collecting: Stop | None = None
        self.ported, self.inside = Ported(session), None
        self._message = 0

    # Reading ----------------------------------------------------------------------------------------

    @property
    def prompt(self) -> str:  # type: ignore[override]
        if self.collecting:
            return "> "
        session = self.session
        mode = "end" if session.ended else self.moves.mode()
        text = f"[{session.position} {looks.ms(session.now_ps)} {mode}] "
        return f"\001\033[1m\002{text}\001\033[0m\002" if self._color else text

    def onecmd(self, line: str) -> bool:
        """One command; errors are one message and leave the session as it is."""
        if self.collecting:
            self.collect(line.strip())
            return False
        try:
            return bool(super().onecmd(self._expanded(line)))
        except MetronomeError as error:
            self.failed += 1
            self.say(f"error: {error}")
        except KeyboardInterrupt as error:
            if hasattr(error, "exit_code"):  # somebody else ends us, not this command
                raise
            self.say("interrupted")
        return False

    def _expanded(self, line: str) -> str:
        """The command's full name for an alias or an unambiguous beginning."""
        word, _, rest = line.strip().partition(" ")
        if not word or word == "EOF" or word.startswith("#"):
            return "" if word.startswith("#") else line
        names, word = self._commands(), word.replace("_", "-")
        found = [ALIASES[word]] if word in ALIASES else [n for n in names if n == word]
        found = found or [name for name in names if name.startswith(word)]
        if len(found) != 1:
            allowed = f"one of {', '.join(found)}" if found else "no command begins so; `help` lists them"
            raise InputError("debugger", "command", word, allowed)
        return f"{found[0].replace('-', '_')} {rest}"

    def _commands(self) -> list[str]:
        return [name[3:].replace("_", "-") for name in self.get_names() if name.startswith("do_") and name != "do_EOF"]

    def script(self, lines: Iterable[str], within: bool = False) -> None:
        """Run commands, each shown after the prompt, or after a + ``within`` another command."""
        for raw in lines:
            line = raw.rstrip("\n")
            if not line.strip():
                continue
            self.say(f"{'+ ' if within else self.prompt}{line}".rstrip())
            if line.strip().startswith("#"):
                continue
            if self.onecmd(line):
                break

    def emptyline(self) -> bool:
        return self.onecmd(self.lastcmd) if self.lastcmd else False

    def preloop(self) -> None:
        """Names have dashes, dots and colons; only blanks and slashes part what is completed."""
        try:
            import readline
        except ImportError:  # a Python without it reads plain lines
            return
        readline.set_completer_delims(" /")

    def completenames(self, text: str, *ignored: object) -> list[str]:
        return [name for name in self._commands() if name.startswith(text)]

    def completedefault(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """Paths of the state."""
        head, _, tail = line[:endidx].rpartition(" ")[2].rpartition("/")
        try:
            node = self.session.value(self.path(head)) if head or self.folder else self._root()
        except MetronomeError:
            return []
        return [name for name in state.names(node) if name.startswith(tail)]

    def say(self, text: str) -> None:
        self.stdout.write(text + "\n")

    def _lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.say(line)

    # Moving -----------------------------------------------------------------------------------------

    def _arrived(self, reason: str = "") -> None:
        if reason:
            self.say(reason)
        self.say(looks.here(self.session))
        self._message = 0
        for stop in list(self.session.hit):
            self.script(stop.commands, within=True)

    def _times(self, arg: str) -> int:
        return number(arg) if arg.strip() else 1

    def do_run(self, arg: str) -> None:
        """run: from the start to the first stop."""
        self._arrived(self.moves.run())

    def do_continue(self, arg: str) -> None:
        """continue (c): on to the next stop, or the end."""
        self._arrived(self.session.run())

    def do_step(self, arg: str) -> None:
        """step [N] (s): let N events act."""
        self._arrived(self.moves.step(self._times(arg)))

    def do_next(self, arg: str) -> None:
        """next [N] (n): on to the next event at a later time."""
        self._arrived(self.moves.next(self._times(arg)))

    def do_stepi(self, arg: str) -> None:
        """stepi (si): on to the next message to a component, and show it with its answer."""
        found = self.session.tape.of_event(self.session.position - 1) if self.session.position > 1 else []
        if not 0 < self._message < len(found):
            reason = self.moves.to_message()
            if reason:
                self._arrived(reason)
                return
            found, self._message = self.session.tape.of_event(self.session.position - 1), 0
        self._message += 1
        sent = found[self._message - 1]
        self.say(f"message {self._message} of {len(found)} sent by event {self.session.position - 1}")
        self.say(looks.message(self.session, sent))

    def do_finish(self, arg: str) -> None:
        """finish [request ID | COMPONENT OP] (fin): until the present step, a request or an operation is done."""
        self._arrived(self.moves.finish(shlex.split(arg)))

    def do_until(self, arg: str) -> None:
        """until TIME|EVENT (u): forward to a time (5ms) or an event's number, unless a stop comes first."""
        self._arrived(self.moves.until(arg.strip()))

    def do_advance(self, arg: str) -> None:
        """advance COMPONENT[:KIND] [if CONDITION]: forward to such an event, once."""
        self.stop(arg, temporary=True)
        self._arrived(self.session.run())

    def do_reverse_step(self, arg: str) -> None:
        """reverse-step [N] (rs): back by N events."""
        self._arrived(self.moves.back(self._times(arg)))

    def do_reverse_next(self, arg: str) -> None:
        """reverse-next (rn): back to the first event of the time before."""
        self._arrived(self.moves.back_in_time(self._times(arg)))

    def do_reverse_continue(self, arg: str) -> None:
        """reverse-continue (rc): back to the last stop before, or to the start."""
        self._arrived(self.session.back_to())

    def do_seek(self, arg: str) -> None:
        """seek EVENT|TIME: to rest before that event, or the first at or after that time; either way."""
        self._arrived(self.moves.seek(arg.strip()))

    def do_when(self, arg: str) -> None:
        """when: the present event."""
        self.say(looks.here(self.session))

    def do_checkpoint(self, arg: str) -> None:
        """checkpoint: remember this point for `restart`."""
        self.say(f"checkpoint {self.session.mark()} at event {self.session.position}")

    def do_restart(self, arg: str) -> None:
        """restart ID: back to a checkpoint."""
        self._arrived(self.moves.restart(number(arg.strip())))

    # Looking ----------------------------------------------------------------------------------------

    def _root(self) -> object:
        return self.session.root()

    def do_print(self, arg: str) -> None:
        """print PATH (p): a value of the state, or all below a path."""
        path = self.path(arg.strip())
        node = self.session.value(path) if path else self._root()
        if path.startswith("components/") and path.split("/")[2:3] == ["state"] and node != STATELESS:
            self.say(f"(state {self.moves.state_is(path.split('/')[1])})")
        self._lines(looks.value(node, depth=3))

    def do_ls(self, arg: str) -> None:
        """ls [PATH]: what is there."""
        path = self.path(arg.strip())
        self._lines(looks.value(self.session.value(path) if path else self._root(), depth=0))

    def do_tree(self, arg: str) -> None:
        """tree [PATH]: everything below, three levels deep."""
        path = self.path(arg.strip())
        self._lines(looks.value(self.session.value(path) if path else self._root(), depth=3))

    def do_cd(self, arg: str) -> None:
        """cd [PATH]: paths are from there on."""
        path = self.path(arg.strip()) if arg.strip() else ""
        if path:
            self.session.value(path)
        self.folder = path

    def do_pwd(self, arg: str) -> None:
        """pwd: where paths start."""
        self.say("/" + self.folder)

    def do_info(self, arg: str) -> None:
        """info queue|components|requests|blocked|messages|checkpoints|stops|edits (i)"""
        words = arg.split()
        known = [*INFO, "messages", "checkpoints", "stops", "edits"]
        found = [name for name in known if words and name.startswith(words[0])]
        if len(found) != 1:
            raise InputError("debugger", "info", arg.strip(), f"one of {', '.join(known)}")
        self._lines(INFO[found[0]](self.session) if found[0] in INFO else self.moves.info(found[0]))

    def do_list(self, arg: str) -> None:
        """list [EVENT] (l): the log of events around the present one, or another."""
        around = number(arg.strip()) if arg.strip() else min(self.session.position, self.session.frontier)
        self._lines(looks.listing(self.session, around))

    def do_who(self, arg: str) -> None:
        """who: who waits for whom, and the wall time spent waiting for each component."""
        self._lines(looks.who(self.session))

    # Doing ------------------------------------------------------------------------------------------

    def do_set(self, arg: str) -> None:
        """set PATH VALUE: change a value here and go on live, on another way than before.

        PATH is of the state (engines/NAME/config/FIELD, router/policy, requests/ID with the value dropped), or of
        the scenario, with dots (cluster.networks.0.bandwidth_gb_s, components.NAME.config.FIELD). What would change
        the past is refused, and says which event.
        """
        path, _, value = arg.strip().partition(" ")
        if not value.strip():
            raise InputError("debugger", "set", arg.strip(), "needs a path and a value")
        scenario = "." in path and "/" not in path  # its paths have dots
        self.say(self.session.set(path if scenario else self.path(path), value.strip()))
        self.say(f"the run is edited from event {self.session.position} on; what came after is forgotten")

    def do_attach(self, arg: str) -> None:
        """attach COMPONENT: let it take its time, and print how to debug its process."""
        self._lines(self.moves.attach(arg.strip()))

    def do_logs(self, arg: str) -> None:
        """logs COMPONENT: the end of what its process has printed."""
        self._lines(self.moves.logs(arg.strip()))

    def do_source(self, arg: str) -> None:
        """source FILE: run commands from a file."""
        self.script(self.moves.read(arg.strip()), within=True)

    def do_help(self, arg: str) -> None:
        """help [COMMAND]: all commands, or one. Unambiguous beginnings of names do; an empty line repeats."""
        if arg.strip():
            name = self._expanded(arg.strip()).split()[0]
            self.say(cleandoc(getattr(self, f"do_{name}").__doc__ or ""))
            return
        for name in self._commands():
            text = cleandoc(getattr(self, f"do_{name.replace('-', '_')}").__doc__ or "").splitlines()[0]
            self.say(f"  {text}")

    def do_quit(self, arg: str) -> bool:
        """quit (q): leave; with -o the results so far are written."""
        return True

    def do_EOF(self, arg: str) -> bool:
        self.say("")
        return True
