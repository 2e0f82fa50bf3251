"""Small plans by hand, and components that say what they were asked, for tests of program and executor."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

from metronome.hwmodels.interface import (
    Advanced,
    Completion,
    ComponentError,
    Description,
    Provenance,
    Template,
    TimePolicy,
)
from metronome.orchestrator.coupling.executor import Executor
from metronome.orchestrator.coupling.hooks import CouplingHooks
from metronome.orchestrator.coupling.link import LocalLink
from metronome.orchestrator.coupling.ports import Ports
from metronome.orchestrator.kernel.instrument import Instruments
from metronome.orchestrator.kernel.loop import Kernel
from metronome.orchestrator.lowering.quantity import SEQUENCES, TOKENS, one
from metronome.orchestrator.lowering.work import Plan, PlannedOperation, Section, Work
from metronome.orchestrator.serving.batch import Batch

ZERO = one("tokens", per=0)
NAMES = ("gpu", "dram", "net")


class Told:
    """A component: an operation takes template id x its first number, in ps, and as many pJ."""

    def __init__(self, log, policy=TimePolicy.ORACLE, kinds=("gemm", "send", "read", "all_reduce", "train")):
        self.log, self.left = log, []
        self.description = Description("told", "accelerator", "1", policy, frozenset(kinds))

    def declare(self, templates):
        self.templates = {template.id: template for template in templates}

    def statistics(self, uses=()):
        return {}

    def cost(self, operation):
        template = self.templates[operation.template]
        if template.layer == "broken":
            raise ComponentError("is broken")
        if template.kind == "train":
            repeat, *rest = operation.values
            return repeat * (sum(rest[::2]) + 2 * sum(rest[1::2]))
        return template.id * operation.values[0]

    def advance(self, grant_ps, operations, stop_at_first=False):
        self.depth = len(inspect.stack(0))
        self.log.append([(operation.template, operation.values) for operation in operations])
        done = [
            Completion(o.op_id, o.at_ps, o.at_ps + self.cost(o), Provenance.MODELLED, self.cost(o)) for o in operations
        ]
        if self.description.time_policy is TimePolicy.ORACLE:
            return Advanced(grant_ps, tuple(done))
        self.left = sorted([*self.left, *done], key=lambda c: (c.finish_ps, c.op_id))
        now = self.left[:1] if self.left and self.left[0].finish_ps <= grant_ps else []
        self.left = self.left[len(now) :]
        reached = now[0].finish_ps if now else grant_ps
        return Advanced(reached, tuple(now), self.left[0].finish_ps if self.left else None)


class Elsewhere(LocalLink):
    """The link of a component a round trip away: what is sent is answered when received."""

    remote = True

    def send(self, *message):
        self.component.log.append("sent")
        self.sent = message

    def receive(self):
        return super().advance(*self.sent)


class World:
    """A kernel, ports to ``gpu``, ``dram`` and ``net``, and what each was asked. ``shared`` are stepped, ``elsewhere``
    a round trip away."""

    def __init__(self, *plans, shared=(), elsewhere=(), kinds=None):
        self.kernel, self.log, self.links = Kernel(), {name: [] for name in NAMES}, {}
        self.instruments = Instruments()
        for name in NAMES:
            policy = TimePolicy.CONSERVATIVE if name in shared else TimePolicy.ORACLE
            made = Told(self.log[name], policy, *([kinds] if kinds else []))
            self.links[name] = (Elsewhere if name in elsewhere else LocalLink)(name, lambda made=made: made)
        works = [work for plan in plans for work in (*plan.works, *plan.chains)]
        rivals = [Work(w.component, w.template, w.operands, 1, "rival") for w in works if w.component in shared]
        specs = [SimpleNamespace(name=name, rank=rank) for rank, name in enumerate(NAMES)]
        self.ports = Ports(self.kernel, specs, self.links, [*works, *rivals])

    def executor(self, plan, steady=lambda n: 0, fold=True):
        hooks = CouplingHooks(self.instruments)
        return Executor(self.kernel, 9, "chat", plan, self.ports, steady, hooks, fold)

    def go(self):
        """To the end; when that is."""
        self.kernel.run()
        return self.kernel.now_ps


def work(id, component="gpu", operands=TOKENS, kind="gemm", user="chat/s0/dp0", copies=1, layer=None):
    return Work(component, Template(id, kind, layer or f"layer{id}", {}), operands, copies, user)


def each(*works, joint=False, beside=False):
    return PlannedOperation(works, joint, beside)


def section(*operations, stage="stage0", repeat=1, layers=0, chain=None, interleaved=False):
    return Section("block", operations, stage, repeat, layers, chain, interleaved)


def decodes(n, context=100):
    return Batch((), n, n * context, context, context)


__all__ = ["SEQUENCES", "TOKENS", "ZERO", "Plan", "World", "decodes", "each", "section", "work"]
