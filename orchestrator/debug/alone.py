"""What no change can better: a request that has all that serves it to itself.

Said where nothing else is: of limits and policies, of several requests left out, of several changes together. The
changed scenario is run with that request alone, so its latency there is what its own work takes. No order, no limit and
no company make it less; so the latency falls by no more than what it is above that. How much longer it may become is
not said: a limit that lets more in, or a policy that puts others first, has it wait for whoever comes.

Where anybody's prompt was found in the prefix cache, others may have computed what this request needs: then the time to
its first token is not counted. Nothing is said where instances of a role differ, since it may be served by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError
from ..scenario.schema import Scenario
from .beside import Change, play, simulation
from .charges import Ledger, named
from .session import DebugSession
from .why import LatencySplit, split
from .witness import Witness


@dataclass(slots=True)
class Alone:
    """``at_most``: what this run takes longer than the request ``alone`` would in the other, ps. ``by``: the instances
    that serve it then; None where it does not matter which."""

    at_most: int
    alone: int
    by: tuple[str, ...] | None

    def parts(self) -> Mapping[str, int]:
        """Those that are not nothing, by name."""
        return named(self, ("at_most", "by"))

    @property
    def least_ps(self) -> None:
        """Nothing is said of how much longer it may take."""

    @property
    def most_ps(self) -> int:
        return self.at_most


def alone(session: DebugSession, books: Ledger, request: int, change: Change) -> Alone | None:
    """None where nothing can be said. Raises InputError, ComponentFailure."""
    others = tuple(sorted({*books.answers, *change.without} - {request}))
    with simulation(session, Change(others, change.values)) as there:
        witness = Witness(there.mover.networks, request)
        there.instruments.add(witness)
        try:
            play(session, there, request)
        except InputError:  # a later turn of a conversation is not sent without the ones before
            return None
        witness.close(there.kernel.now_ps)
        found = split(there, witness, request)
    takes = found.total_ps
    if any(answer.cached for answer in books.answers.values()):
        takes -= found.first_ps or 0
    by = None if alike(there.scenario) else served_by(found)
    return Alone(books.answers[request].total_ps - takes, takes, by)


def served_by(answer: LatencySplit) -> tuple[str, ...]:
    """The instances that computed it, in their order."""
    return tuple(dict.fromkeys(step.instance for step in answer.steps))


def alike(scenario: Scenario) -> bool:
    """Whether it does not matter which instance of a role serves: they, what they are on and what joins them differ in
    nothing but names and places."""
    kinds = [instance.model_dump_json(exclude={"name", "accelerators"}) for instance in scenario.instances]
    roles = {instance.role for instance in scenario.instances}
    nodes = {node.model_dump_json(exclude={"name"}) for node in scenario.cluster.nodes}
    networks = {network.model_dump_json(exclude={"name", "connects"}) for network in scenario.cluster.networks}
    single = len(set(kinds)) <= len(roles) and max(map(len, (nodes, networks))) <= 1 and not scenario.components
    return len(kinds) == len(roles) or single
