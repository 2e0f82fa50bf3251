"""Routers that know what each instance is good at: what a request would take there, by its pace and its load."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from ..errors import InputError, NoEnergyWarning
from ..units import PS_PER_MS
from ..workload.request import Request
from ..workload.slo import Slo
from .pace import Outlook, Pace, outlook
from .replica import Replica

LOOKING_AHEAD = ("predicted-latency", "least-energy")


class PredictedLatency:
    """Where it is expected to be done first; ties to the first. ``paces``: by the replica's number."""

    def __init__(self, paces: Mapping[int, Pace]) -> None:
        self._paces = paces

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        return min(replicas, key=lambda replica: self.outlook(request, replica).latency_ps)

    def outlook(self, request: Request, replica: Replica) -> Outlook:
        return outlook(request, replica, self._paces[replica.number])


class LeastEnergy(PredictedLatency):
    """Of those expected to meet what its class is promised the one that spends least more; where none is, the one that
    is done first. ``slos``: by class, "" is everybody else's. Raises InputError where energies are not known."""

    def __init__(self, paces: Mapping[int, Pace], slos: Mapping[str, Slo]) -> None:
        super().__init__(paces)
        self._slos = slos
        if not all(pace.energy_known for pace in paces.values()):
            allowed = "needs to know what accelerators spend; some of these say no energies"
            raise InputError("scenario", "router.policy", "least-energy", allowed)
        unpriced = dict.fromkeys(one for pace in paces.values() for one in pace.unpriced)
        if unpriced:
            said = "router.policy least-energy takes their work as free"
            warnings.warn(f"{', '.join(unpriced)} say no energies: {said}", NoEnergyWarning, stacklevel=2)

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        slo = self._slos.get(request.slo_class, self._slos[""])
        outlooks = [(self.outlook(request, replica), replica) for replica in replicas]
        good = [(ahead, replica) for ahead, replica in outlooks if _meets(ahead, slo)]
        if good:
            return min(good, key=lambda one: one[0].energy_pj)[1]
        return min(outlooks, key=lambda one: one[0].latency_ps)[1]


def looking_ahead(policy: str, paces: Sequence[Pace], slos: Mapping[str, Slo]) -> PredictedLatency:
    """The router of that name, one of `LOOKING_AHEAD`. ``paces`` of all replicas, in order. Raises InputError."""
    known = dict(enumerate(paces))
    return LeastEnergy(known, slos) if policy == "least-energy" else PredictedLatency(known)


def _meets(ahead: Outlook, slo: Slo) -> bool:
    limits = ((slo.ttft_ms, ahead.ttft_ps), (slo.tpot_ms, ahead.tpot_ps), (slo.e2el_ms, ahead.latency_ps))
    return all(limit is None or found <= limit * PS_PER_MS for limit, found in limits)
