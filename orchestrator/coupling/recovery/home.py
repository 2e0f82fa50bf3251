"""Where a component lives: a process, a container or an address, and the next one when that has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from ...errors import ComponentFailure
from ..components import ComponentSpec
from ..launch.endpoint import Endpoint
from ..link import Link
from ..remote import Host, RemoteLink
from ..watchdog import Watchdog


class Lodging(Host, Protocol):
    """A host that can be waited for and got rid of."""

    def endpoint(self) -> Endpoint:
        """Where it answers, once it does. Raises ComponentFailure."""
        ...

    def kill(self) -> None:
        """At once, with all it has started; afterwards it is gone. Nothing happens to what is not ours."""
        ...


class Home:
    """``life`` counts how often the component was started anew. ``start(life)`` begins to start it."""

    def __init__(self, spec: ComponentSpec, watchdog: Watchdog, start: Callable[[int], Lodging]) -> None:
        self.spec, self._watchdog, self._start = spec, watchdog, start
        self.life = 0
        self.recovery_wall_s = 0.0  # from each failure noticed to the answer it was after
        self.substitute: dict[str, Any] = {}  # which model answers in its place, since when and why
        self.host = start(0)
        self._endpoint: Endpoint | None = None

    def connect(self, number: int) -> RemoteLink:
        """A session with the component as it is now. Raises ComponentFailure."""
        if self._endpoint is None:
            self._endpoint = self.host.endpoint()
        return RemoteLink(self.spec, self._endpoint, self._watchdog, self.host, number)

    def renew(self, life: int) -> None:
        """Start it anew, unless another of its sessions has done so since that life. Raises ComponentFailure."""
        if life != self.life:
            return
        self._endpoint = None
        self.host.kill()
        self.host = self._start(self.life + 1)
        self.life += 1

    @property
    def incidents(self) -> dict[str, Any]:
        """What has befallen it, for the result; empty for a quiet life."""
        return {
            **({"recoveries": self.life, "recovery_wall_s": self.recovery_wall_s} if self.life else {}),
            **({"fallback": self.substitute} if self.substitute else {}),
        }


def connect(home: Home) -> Link:
    """The component's first session, as its ``on_failure`` wants it."""
    from .link import RecoveringLink

    if home.spec.options.on_failure == "fail":
        return home.connect(0)
    return RecoveringLink(home)


@contextmanager
def connected(
    specs: Sequence[ComponentSpec], start: Callable[[ComponentSpec, int], Lodging]
) -> Iterator[dict[str, Link]]:
    """A session with each component, all of which are started before the first is waited for; closed on leaving.

    ``start`` begins a life of one. Raises InputError, ComponentFailure.
    """
    watchdog = Watchdog()
    links: dict[str, Link] = {}
    try:
        homes = [Home(spec, watchdog, partial(start, spec)) for spec in specs]
        for home in homes:
            links[home.spec.name] = connect(home)
        yield links
    finally:
        watchdog.close()
        for link in links.values():
            link.close()


def beyond_recovery(failure: ComponentFailure, why: str) -> ComponentFailure:
    """The failure that ends the run, with why the component was not brought back."""
    what = f"{failure.what}; {why}"
    return ComponentFailure(failure.component, what, failure.doing, failure.last_words, failure.code)
