"""The console's commands about stops: `break`, `watch`, `catch`, and what becomes of them."""

from __future__ import annotations

from ..errors import InputError
from .expressions import Condition, number, parse
from .moves import Moves
from .port_stops import stop_at
from .session import DebugSession
from .stops import Break, Catch, RequestBreak, Stop, Watch


class StopCommands:
    """Part of `Console`. ``folder`` is where paths start, ``collecting`` the stop whose commands are being read."""

    session: DebugSession
    moves: Moves
    folder: str
    collecting: Stop | None

    def say(self, text: str) -> None:
        raise NotImplementedError

    def path(self, text: str) -> str:
        """A path from the present folder; `..` and a leading / as in a shell."""
        walked = [] if text.startswith("/") else self.folder.split("/")
        for name in text.split("/"):
            walked = walked[:-1] if name == ".." else [*walked, name]
        return "/".join(name for name in walked if name and name != ".")

    def do_break(self, arg: str) -> None:
        """break COMPONENT[:KIND] | :KIND | request ID | event N | time T | microstep > K  [if CONDITION] (b)

        Before an event of a component, an instance or `dispatcher`; of a kind of operation or event; before a
        request arrives and whenever its state changes; at a time. COMPONENT may be a memory that an accelerator
        is wired to: after an event that asked for an operation which asks there. CONDITION compares fields of the
        event (event, time, kind, about, source, rank, cause) or paths of the state: if engines/a/kv/free < 10.
        """
        stop = self.stop(arg)
        self.say(f"stop {stop.number}: {stop.describe()}" + (f" if {stop.condition.text}" if stop.condition else ""))

    def do_tbreak(self, arg: str) -> None:
        """tbreak ... (tb): a break that goes after its first hit."""
        stop = self.stop(arg, temporary=True)
        self.say(f"temporary stop {stop.number}: {stop.describe()}")

    def do_watch(self, arg: str) -> None:
        """watch PATH [changed] | PATH OP VALUE: when a value has changed, or a comparison becomes true."""
        words = arg.split()
        if not words:
            raise InputError("debugger", "watch", None, "needs a path, such as engines/a/kv/free")
        path = self.path(words[0])
        self.moves.check_path(path)
        condition = None
        if words[1:] and words[1:] != ["changed"]:
            condition = parse(f"/{path} {' '.join(words[1:])}")
        stop = self.session.stops.add(Watch(number=self.session.stops.number(), path=path, condition=condition))
        self.say(f"stop {stop.number}: {stop.describe()}")

    def do_catch(self, arg: str) -> None:
        """catch fault|late|timeout|dead|preemption|tie: when such a thing happens."""
        stop = self.session.stops.add(Catch(number=self.session.stops.number(), what=arg.strip()))
        self.say(f"stop {stop.number}: {stop.describe()}")

    def stop(self, arg: str, temporary: bool = False) -> Stop:
        what, _, condition = arg.partition(" if ")
        parsed = self._condition(condition) if condition.strip() else None
        words = what.split()
        new = self.session.stops.number
        match words:
            case ["request", which]:
                stop: Stop = RequestBreak(number=new(), request=number(which))
            case ["event", which]:
                stop = Break(number=new(), event=number(which))
            case ["time", time]:
                stop = Break(number=new(), time_ps=number(time))
            case ["microstep", ">", steps]:
                stop = Break(number=new(), microstep=number(steps))
            case [name]:
                stop = stop_at(self.session, self.moves, new, name)
            case _:
                allowed = "COMPONENT[:KIND], :KIND, request ID, event N, time T or microstep > K"
                raise InputError("debugger", "break", what.strip(), allowed)
        stop.condition, stop.temporary = parsed, temporary
        return self.session.stops.add(stop)

    def _condition(self, text: str) -> Condition:
        condition = parse(text.strip())
        condition.holds(self.session.names)  # names nobody knows are refused at once
        return condition

    def do_condition(self, arg: str) -> None:
        """condition N [CONDITION]: give a stop a condition, or take it away."""
        which, _, text = arg.partition(" ")
        self.session.stops.get(number(which)).condition = self._condition(text) if text.strip() else None

    def do_ignore(self, arg: str) -> None:
        """ignore N COUNT: let the next COUNT hits of a stop pass."""
        which, _, count = arg.partition(" ")
        self.session.stops.get(number(which)).ignore = number(count.strip())

    def do_commands(self, arg: str) -> None:
        """commands N: the lines that follow, up to `end`, are run at every hit of that stop."""
        self.collecting = self.session.stops.get(number(arg.strip()))
        self.collecting.commands = []

    def collect(self, line: str) -> None:
        if self.collecting and line != "end":
            self.collecting.commands.append(line)
        else:
            self.collecting = None

    def do_enable(self, arg: str) -> None:
        """enable N: a stop stops again."""
        self.session.stops.get(number(arg.strip())).enabled = True

    def do_disable(self, arg: str) -> None:
        """disable N: a stop no longer stops."""
        self.session.stops.get(number(arg.strip())).enabled = False

    def do_delete(self, arg: str) -> None:
        """delete N (d): a stop is gone."""
        del self.session.stops.all[self.session.stops.get(number(arg.strip())).number]
