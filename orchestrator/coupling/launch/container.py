"""Components in containers: locked down, watched, and gone afterwards whatever happens.

By default a component has no network at all: it listens on a Unix socket in a folder that is mounted
into its container. Containers carry labels that name the run, the component and the owner; what a killed
orchestrator left behind is found by them (`sweep`).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import DockerException, ImageNotFound
from metronome.adapters.tools.keeper import keeper
from metronome.component.v1.server_side import server_side
from metronome.hwmodels.process import LIFE

from ...errors import ComponentFailure
from ...scenario.components import ContainerOptions
from .. import registry
from ..components import ComponentSpec
from ..link import Link
from ..recovery import connected
from . import owner
from .certificates import make_certificates
from .endpoint import Endpoint, Tls
from .engine import LABEL, engine, naming, reason, socket_of, sweep, tagged

INSIDE = "/run/metronome"  # where the socket's folder, or the certificates, are in a container
SOCKET = "component.sock"
OWN = "config.json"  # what the component is told is its own: no client of it changes a program or a path
PORT = 50051  # of a component that listens on a network of its own
LAST_LINES = 20
STOP_S = 5
NOBODY = 65532  # the usual non-root user of images


class Container:
    """One container hosting one component; ``folder`` is what it shares with us, ``network`` what it is reached by."""

    def __init__(self, spec: ComponentSpec, made: Any, image: str, log: Path, folder: Path, network: str) -> None:
        self.spec, self.made, self.image, self.folder, self._network = spec, made, image, folder, network
        self._given_up = False
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._log = log
        self._reader = threading.Thread(target=self._copy, daemon=True, name=f"logs of {spec.name}")

    def start(self) -> None:
        with naming(self.spec.name, "starting"):
            self.made.start()
        self._reader.start()

    def endpoint(self) -> Endpoint:
        endpoint = self._endpoint()
        endpoint.await_health(
            self.spec.name, self.spec.options.start_timeout_s, lambda: (self.fate(), self.last_words())
        )
        return endpoint

    def _endpoint(self) -> Endpoint:
        options = self.spec.options.container
        network = options.network if options else "none"
        if network == "none":
            return Endpoint(f"unix:{self.folder / SOCKET}")
        own = _tls(self.folder)
        authority, certificate, key = ((own / name).read_bytes() for name in ("ca.pem", "client.pem", "client.key"))
        return Endpoint(self._await_address(network), Tls(authority, certificate, key, self.spec.name))

    def _await_address(self, network: str) -> str:
        """The address docker has given it; a container that has ended has none."""
        with naming(self.spec.name, "starting"):
            self.made.reload()
        settings = self.made.attrs["NetworkSettings"]
        bindings = (settings["Ports"] or {}).get(f"{PORT}/tcp")
        if network == "loopback" and bindings:
            return f"127.0.0.1:{bindings[0]['HostPort']}"
        own = (settings["Networks"] or {}).get(self._network, {}).get("IPAddress")
        if own:
            return f"{own}:{PORT}"
        fate, words = self.post_mortem()
        raise ComponentFailure(self.spec.name, fate or "has no address", "starting", words)

    def _copy(self) -> None:
        """Everything it prints, into the run's folder; the last lines are kept for messages."""
        with self._log.open("ab") as file, contextlib.suppress(DockerException, requests.RequestException, OSError):
            for chunk in self.made.logs(stream=True, follow=True):
                file.write(chunk)
                file.flush()
                self._lines.extend(chunk.decode(errors="replace").splitlines())

    @property
    def state(self) -> dict[str, Any]:
        try:
            self.made.reload()
        except DockerException:
            return {"Status": "removed"}
        state: dict[str, Any] = self.made.attrs["State"]
        return state

    @property
    def pid(self) -> int:
        return int(self.state.get("Pid") or 0)

    def fate(self) -> str:
        """What became of it; empty while it runs."""
        state = self.state
        if state["Status"] in ("created", "running", "restarting", "paused"):
            return ""
        if state.get("OOMKilled"):
            limit = self.spec.options.container and self.spec.options.container.memory_mib
            return f"was killed for going beyond its memory limit ({limit} MiB)"
        code = state.get("ExitCode")
        return "its container is gone" if code is None else f"its container exited with code {code}"

    def last_words(self) -> str:
        return "\n".join(self._lines)

    def post_mortem(self) -> tuple[str, str]:
        """Gives a dying container a moment to be gone."""
        for _ in range(10):
            fate = self.fate()
            if fate:
                self._reader.join(1)
                return fate, self.last_words()
            time.sleep(0.05)
        return "", self.last_words()

    def give_up(self) -> None:
        self._given_up = True

    def kill(self) -> None:
        self.give_up()
        self.remove()

    def remove(self) -> None:
        """Asked to end first; one that does not answer any more, or is paused, is killed."""
        with contextlib.suppress(DockerException, requests.RequestException):
            if not self._given_up and not self.state.get("Paused"):
                self.made.stop(timeout=STOP_S)
        if self._reader.ident is not None:
            self._reader.join(2)
        with contextlib.suppress(DockerException, requests.RequestException):
            self.made.remove(v=True, force=True)
        keeper().removed(_path(self.made.id))


@contextmanager
def open_containers(specs: Sequence[ComponentSpec], logs: Path | None) -> Iterator[dict[str, Link]]:
    """Start all containers at once and connect to each; on leaving nothing of them is left.

    What they print goes to ``logs``/NAME.log. Raises ComponentFailure.
    """
    client = engine(specs[0].name)
    sweep(client)
    owner.sweep_folders()
    folder = owner.make_folder()
    (logs or folder).mkdir(parents=True, exist_ok=True)
    keeper().folder(str(folder))
    run = _Run(client, folder, logs or folder)
    try:
        with connected(specs, run.start) as links:
            yield links
    finally:
        run.remove()


class _Run:
    """The containers, the network and the folder of one run."""

    def __init__(self, client: Any, folder: Path, logs: Path) -> None:
        self._client, self._folder, self._logs = client, folder, logs
        self.id = secrets.token_hex(6)
        self.hosts: list[Container] = []
        self._network: Any = None

    def labels(self, component: str) -> dict[str, str]:
        return {
            f"{LABEL}.run": self.id,
            f"{LABEL}.component": component,
            f"{LABEL}.owner": owner.mine(),
            f"{LABEL}.host": platform.node(),
        }

    def start(self, spec: ComponentSpec, life: int) -> Container:
        """A container that begins to start. Raises ComponentFailure."""
        host = self._create(spec, life)
        self.hosts.append(host)
        host.start()
        return host

    def _create(self, spec: ComponentSpec, life: int) -> Container:
        options = spec.options.container
        if options is None:
            options = ContainerOptions()
        user = options.user or (f"{NOBODY}:{NOBODY}" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}")
        shared = self._shared(spec, life, user, options.network != "none")
        listen = f"unix:{INSIDE}/{SOCKET}" if options.network == "none" else f"0.0.0.0:{PORT}"
        command = options.command or ["serve-component", spec.model, "--listen", "{listen}", "--config", "{config}"]
        command = [part.replace("{listen}", listen).replace("{config}", f"{INSIDE}/{OWN}") for part in command]
        if options.network != "none" and options.command is None:
            command += [
                "--tls-cert",
                f"{INSIDE}/server.pem",
                "--tls-key",
                f"{INSIDE}/server.key",
                "--tls-ca",
                f"{INSIDE}/ca.pem",
                "--health",
                f"127.0.0.1:{PORT + 1}",
            ]
        mounts = [docker.types.Mount(INSIDE, str(shared), "bind", read_only=options.network != "none")]
        mounts += [
            docker.types.Mount(m.target, str((spec.folder / m.source).resolve()), "bind", read_only=m.read_only)
            for m in options.mounts
        ]
        with naming(spec.name, f"making a container of the image {options.image}"):
            image = self._image(spec.name, options.image, options.pull)
            memory = f"{options.memory_mib}m" if options.memory_mib else None
            made = self._client.containers.create(
                image,
                command,
                name=f"metronome-{self.id}-{spec.rank}" + (f"-{life}" if life else ""),
                labels=self.labels(spec.name),
                init=True,
                user=user,
                read_only=True,
                tmpfs={"/tmp": "size=64m,mode=1777"},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                pids_limit=256,
                mem_limit=memory,
                memswap_limit=memory,
                nano_cpus=int(options.cpus * 1e9) if options.cpus else None,
                environment={LIFE: str(life), **options.environment},
                mounts=mounts,
                **self._networking(options.network),
                **_gpus(options.gpus),
            )
        self._keep(_path(made.id))
        log = self._logs / f"{spec.name}.log"
        if not life:
            log.unlink(missing_ok=True)  # an earlier run's
        return Container(spec, made, image.id, log, shared, self._network.name if self._network else "")

    def _keep(self, path: str) -> None:
        """Removed when we are gone, where the engine is on this machine; else by the next run (`sweep`)."""
        socket = socket_of(self._client)
        if socket:
            keeper().made(path, socket)

    def _shared(self, spec: ComponentSpec, life: int, user: str, tls: bool) -> Path:
        """The folder that is mounted into the container, for its socket or its certificates."""
        shared = self._folder / f"{spec.rank}.{life}"
        shared.mkdir(mode=0o700)
        (shared / OWN).write_text(json.dumps(_own(spec), default=str))
        if tls:
            made = _tls(shared)
            make_certificates(made, [spec.name])
            for name, target in (
                ("ca.pem", "ca.pem"),
                (f"{spec.name}.pem", "server.pem"),
                (f"{spec.name}.key", "server.key"),
            ):
                (shared / target).write_bytes((made / name).read_bytes())
        uid, _, gid = user.partition(":")
        if os.getuid() == 0 and uid.isdigit():
            for path in (shared, *shared.iterdir()):
                os.chown(path, int(uid), int(gid or uid))
        return shared

    def _image(self, component: str, name: str, pull: str) -> Any:
        if pull == "always":
            return self._client.images.pull(*tagged(name))
        try:
            return self._client.images.get(name)
        except ImageNotFound:
            if pull == "never":
                raise ComponentFailure(
                    component, f"there is no image {name} here, and pull is never", "starting"
                ) from None
        try:
            return self._client.images.pull(*tagged(name))
        except DockerException as error:
            why = f"there is no image {name} here, and it cannot be pulled: {reason(error)}"
            raise ComponentFailure(component, why, "starting") from None

    def _networking(self, network: str) -> dict[str, Any]:
        if network == "none":
            return {"network_mode": "none"}
        if network == "loopback":
            return {"ports": {f"{PORT}/tcp": ("127.0.0.1", None)}}
        if self._network is None:
            self._network = self._client.networks.create(
                f"metronome-{self.id}", driver="bridge", internal=True, labels=self.labels("")
            )
            self._keep(f"/networks/{self._network.id}")
        return {"network": self._network.name}

    def remove(self) -> None:
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(Container.remove, self.hosts))
        if self._network is not None:
            with contextlib.suppress(DockerException, requests.RequestException):
                self._network.remove()
            keeper().removed(f"/networks/{self._network.id}")
        shutil.rmtree(self._folder, ignore_errors=True)
        keeper().removed(str(self._folder))


def _path(container: str) -> str:
    """Of a container in the engine's API; asked to be removed, whatever it does."""
    return f"/containers/{container}?force=true&v=true"


def _tls(shared: Path) -> Path:
    """Where the certificates of the container with that folder are; ours stay outside of it."""
    return shared.with_name(f"{shared.name}.tls")


def _own(spec: ComponentSpec) -> dict[str, Any]:
    """What no client may choose, so the component must have it; all, where its model is known to its image alone."""
    if spec.facts is not None:
        return dict(spec.config)
    fields = server_side(registry.find(spec.model))
    return {field: value for field, value in spec.config.items() if field in fields}


def _gpus(count: int) -> dict[str, Any]:
    if not count:
        return {}
    return {"device_requests": [docker.types.DeviceRequest(count=count, capabilities=[["gpu"]])]}
