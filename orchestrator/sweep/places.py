"""Where points are computed: processes of this machine, or a cluster by its address."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from ..errors import InputError, MetronomeError
from .points import PointRow
from .pool import LOST, Pool, Told
from .worker import Answer, Task, Work, evaluate, new_row

FORM = "tls://HOST:PORT, or tcp://127.0.0.1:PORT"
Given = TypeVar("Given", covariant=True)
CERTIFICATES = ("ca.pem", "client.pem", "client.key")  # as `metronome certs` names them


class ClusterFailure(MetronomeError):
    """A cluster is gone, or its workers cannot compute."""

    exit_code = 3


class Places(Protocol[Given]):
    """Does tasks, each in one of its places."""

    def map(self, tasks: Iterable[tuple[int, Task]], done: Callable[[int, Given], None]) -> None:
        """``done`` is told of each task's answer as soon as it is there, by the task's number."""
        ...


@dataclass(frozen=True, slots=True)
class Cluster:
    """The address of a Dask scheduler, and the folder of the certificates that speak to it."""

    address: str
    certificates: Path

    def check(self) -> bool:
        """Whether it is spoken to over TLS. Raises InputError for an address that is not to be trusted."""
        try:
            url = urlsplit(self.address)
            port = url.port
        except ValueError:
            raise InputError("sweep", "--cluster", self.address, f"must be {FORM}") from None
        if not url.hostname or not port or url.scheme not in ("tcp", "tls"):
            raise InputError("sweep", "--cluster", self.address, f"must be {FORM}")
        if url.scheme == "tcp" and not _loopback(url.hostname):
            what = "whoever reads or changes what passes runs code of theirs: beyond this machine only tls://"
            raise InputError("sweep", "--cluster", self.address, what)
        for name in CERTIFICATES if url.scheme == "tls" else ():
            if not (self.certificates / name).is_file():
                what = f"has no {name}; `metronome certs scheduler worker` makes them"
                raise InputError("sweep", "--certs", str(self.certificates), what)
        return url.scheme == "tls"


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def opened(
    workers: int,
    cluster: Cluster | None,
    work: Work[Answer],
    lost: Answer,
    told: Told = lambda number, text, answer: None,
) -> AbstractContextManager[Places[Answer]]:
    """At most so many processes here, or the workers of a cluster, however many, that do a ``work``, a function of a
    module; ``lost`` and ``told`` as of a `Pool`, which is told by processes here alone. Raises InputError."""
    if cluster is None:
        return Pool(workers, work, lost, told)
    over_tls = cluster.check()
    if find_spec("distributed") is None:
        what = "needs Dask, which is not installed: pip install 'metronome-cosim[cluster]'"
        raise InputError("sweep", "--cluster", cluster.address, what)
    from .dask_pool import DaskPool

    return DaskPool(cluster, over_tls, work, lost)


def for_points(workers: int, cluster: Cluster | None = None) -> AbstractContextManager[Places[PointRow]]:
    """`opened`, for points of a sweep."""
    return opened(workers, cluster, evaluate, new_row("failed", LOST))
