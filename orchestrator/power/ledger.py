"""Where the energy of a run went: an account of every part of every node, and of what is of no node.

The total is the sum of the accounts, and so is the series: each stretch of each account is in the seconds it was drawn
in. Of a run that was cut short, what had not ended is in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..coupling.spent import Spent
from ..scenario.schema import Node, Scenario
from ..units import PJ_PER_J, PS_PER_S, bin_ps
from .account import Account, Times, merged, without
from .devices import off_stretches, states
from .groups import Group, Rows, shared_out
from .past import NONE, Past

Change = tuple[str, str, int]  # an instance, its state from then on, ps


class Ledger:
    """Of a run up to ``end_ps``, by the energies that components said; ``changes`` of instances, by time."""

    def __init__(
        self,
        scenario: Scenario,
        groups: Sequence[Group],
        spent: Spent,
        changes: Iterable[Change],
        end_ps: int,
        past: Past | None = None,
    ) -> None:
        self._scenario, self._groups, self.end_ps, self._past = scenario, groups, end_ps, past or Past()
        self._off = off_stretches(changes, end_ps)
        taken = {of: _taken(self._past.left(of, one), end_ps, bool(of[1])) for of, one in sorted(spent.of.items())}
        self._entries = shared_out(taken, groups)

    @cached_property
    def accounts(self) -> list[Account]:
        found = [account for node in self._scenario.cluster.nodes for account in self._node(node)]
        at = {node.name for node in self._scenario.cluster.nodes}
        found += [self._operations("", one) for one in self._components if one.partition(".")[0] not in at]
        return [account for account in found if account.total_j]

    @cached_property
    def _components(self) -> list[str]:
        """Those that said energies."""
        return list(dict.fromkeys(component for component, _ in (*self._entries, *self._past.energy)))

    @property
    def total_j(self) -> float:
        total: float = 0
        for account in self.accounts:  # not by sum(): from Python 3.12 on its last digits are others
            total += account.total_j
        return total

    @property
    def width_ps(self) -> int:
        """Of a bin."""
        return bin_ps(self.end_ps)

    @property
    def bins(self) -> int:
        """That have begun."""
        return -(-self.end_ps // self.width_ps)

    def joules(self) -> NDArray[np.float64]:
        """Of the cluster, in each bin."""
        found: NDArray[np.float64] = np.zeros(self.bins)
        for account in self.accounts:
            found += account.in_bins(self.bins, self.width_ps)
        return found

    def watts(self) -> NDArray[np.float64]:
        """Of the cluster, the mean of each bin; the last one may be shorter."""
        lengths: NDArray[np.float64] = np.full(self.bins, self.width_ps / PS_PER_S)
        if self.end_ps % self.width_ps:
            lengths[-1] = self.end_ps % self.width_ps / PS_PER_S
        return self.joules() / lengths

    def by_part(self) -> dict[str, dict[str, float]]:
        """J of every part, by node; "" is of none."""
        found: dict[str, dict[str, float]] = {}
        for account in self.accounts:
            parts = found.setdefault(account.node, {})
            parts[account.part] = parts.get(account.part, 0.0) + account.total_j
        return found

    def _node(self, node: Node) -> Iterable[Account]:
        name, power, all_along = node.name, node.power, [(0, self.end_ps)]
        here = [group for group in self._groups if group.devices(name)]
        busy = [(group, self._times(f"{name}.accelerators", group.name)) for group in here]
        accounts = [Account.steady(name, "base", power.base_w, all_along)]
        since, until = _joined(times for _, times in busy)
        before = zip(*(times.tolist() for times in self._past.working.get(name, NONE)), strict=True)
        working = [*before, *merged(np.maximum(since, self._past.closed_ps), until)]
        for part, drawn in power.parts.items():
            idle = Account.steady(name, part, drawn.idle_w, all_along)
            busier = Account.steady(name, part, drawn.most_w - drawn.idle_w, working)
            accounts.append(_together(name, part, [idle, busier]))
        accounts += self._states(node, busy)
        accounts += [self._operations(name, one) for one in self._components if one.partition(".")[0] == name]
        if power.psu_efficiency < 1:
            lost = _together(name, "psu", accounts)
            share = 1 / power.psu_efficiency - 1
            accounts.append(Account(name, "psu", lost.since_ps, lost.until_ps, lost.joules * share))
        return accounts

    def _states(self, node: Node, busy: Sequence[tuple[Group, tuple[Times, Times]]]) -> list[Account]:
        """Accelerators that nobody uses, that are awake, and that are off with their instance."""
        drawn = states(self._scenario, node)
        if drawn is None:
            return []
        all_along, idle_w = [(0, self.end_ps)], drawn.idle_w
        idle = [Account.steady(node.name, "accelerators idle", idle_w * node.accelerators.count, all_along)]
        awake = []
        for group, times in busy:
            devices, off = group.devices(node.name), self._off.get(group.instance, [])
            idle.append(Account.steady(node.name, "", devices * (node.power.off_w - idle_w), off))
            up = all_along
            if drawn.hold_ps is not None:
                before = self._past.held.get((f"{node.name}.accelerators", group.name), NONE)
                held = merged(*_joined([before, times]), drawn.hold_ps)
                up = [(since, min(until, self.end_ps)) for since, until in held if since < self.end_ps]
            more = devices * (drawn.standby_w - idle_w)
            awake.append(Account.steady(node.name, "", more, without(up, off)))
        return [
            _together(node.name, "accelerators idle", idle),
            _together(node.name, "accelerators awake", awake),
        ]

    def _times(self, component: str, group: str) -> tuple[Times, Times]:
        none = np.empty(0, dtype=np.int64)
        since, until, _ = self._entries.get((component, group), (none, none, none))
        return since, until

    def _operations(self, node: str, component: str) -> Account:
        """What a component said of all its operations, whosever they were."""
        mine = [entries for (of, _), entries in self._entries.items() if of == component]
        mine += self._past.rows(component)
        since, until, energies = (np.concatenate(columns) for columns in zip(*mine, strict=True))
        return Account(node, component.removeprefix(f"{node}."), since, until, energies / PJ_PER_J)


def _taken(rows: Rows, end_ps: int, steps: bool) -> Rows:
    """Steps that have ended, other operations that have begun."""
    since, until, energy = rows
    taken = until <= end_ps if steps else since < end_ps
    return since[taken], np.minimum(until[taken], end_ps), energy[taken]


def _joined(times: Iterable[tuple[Times, Times]]) -> tuple[Times, Times]:
    pairs = list(times) or [(np.empty(0, dtype=np.int64),) * 2]
    return np.concatenate([since for since, _ in pairs]), np.concatenate([until for _, until in pairs])


def _together(node: str, part: str, accounts: Sequence[Account]) -> Account:
    """One account of all their stretches."""
    since, until = _joined((one.since_ps, one.until_ps) for one in accounts)
    joules = [one.joules for one in accounts] or [np.empty(0)]
    return Account(node, part, since, until, np.concatenate(joules))
