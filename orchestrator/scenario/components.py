"""Who answers for a piece of hardware, and where that runs: the `components` of a scenario."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator, with_config
from typing_extensions import TypedDict

from ..strict import Strict


@with_config(ConfigDict(extra="forbid"))
class Wire(
    TypedDict(
        "Wire",
        {
            "from": Annotated[str, Field(description="a port of a component, e.g. n0.accelerators.mem")],
            "to": Annotated[str, Field(description="the component that does what is asked there, e.g. n0.hbm")],
        },
    )
):
    """Whom a component asks."""


class Mount(Strict):
    """A file or folder of this machine inside a container; ``source`` is relative to the scenario."""

    source: str = Field(description="a file or folder of this machine")
    target: str = Field(pattern=r"^/", description="where the container sees it")
    read_only: bool = Field(default=True, description="whether the container may not write to it")


class ContainerOptions(Strict):
    """How a component's container is run (`run: container`)."""

    image: str = Field(default="metronome-adapter", description="what it runs")
    command: list[str] | None = Field(
        default=None,
        description="arguments of the image's entry point; {listen}: where to listen, {config}: its own configuration",
    )
    environment: dict[str, str] = Field(default={}, description="variables of its environment; left out of recordings")
    cpus: float | None = Field(default=None, gt=0, description="at most; default: all")
    memory_mib: int | None = Field(default=None, ge=16, description="beyond it the component is killed")
    gpus: int = Field(default=0, ge=0, description="that it may use")
    mounts: list[Mount] = Field(default=[], description="of files and folders")
    pull: Literal["never", "missing", "always"] = Field(default="missing", description="when the image is fetched")
    network: Literal["none", "private", "loopback"] = Field(
        default="none",
        description="none: a Unix socket; private: a network of the run's own; loopback: a published port",
    )
    user: str | None = Field(default=None, description="UID:GID; default: ours, or 65532 where we are root")


class AddressOptions(Strict):
    """A component that somebody else has started (`run: address`). Paths are relative to the scenario."""

    target: str = Field(pattern=r"^(unix:.+|.+:\d+)$", description="unix:PATH or HOST:PORT")
    ca: str | None = Field(default=None, description="PEM of the authority of its certificate: speak TLS")
    certificate: str | None = Field(default=None, description="PEM of ours, if it asks for one")
    key: str | None = Field(default=None, description="PEM file: the key of `certificate`")
    server_name: str | None = Field(default=None, description="the name in its certificate, if not the host's")
    token_file: str | None = Field(default=None, description="file that holds the token of the server")
    token_env: str | None = Field(default=None, description="name of the environment variable that holds the token")
    insecure: bool = Field(default=False, description="no TLS, in a network you trust")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        if self.certificate and not self.ca:
            raise ValueError("certificate needs ca, the authority of the component's own certificate")
        if self.token_file and self.token_env:
            raise ValueError("token_file or token_env, not both")
        if (self.token_file or self.token_env) and not self.ca:
            raise ValueError("a token is sent over TLS only: give ca")
        local = self.target.startswith(("unix:", "127.0.0.1:", "localhost:", "[::1]:"))
        if not (local or self.ca or self.insecure):
            raise ValueError("beyond this machine a component is spoken to over TLS: give ca, or insecure: true")
        return self


class SurrogateOptions(Strict):
    """Ask a slow component only where interpolation between its answers is not within the tolerance."""

    tolerance: float = Field(default=0.01, gt=0, lt=1, description="relative error of a duration")
    audit: Literal["refine", "fail"] = Field(
        default="refine",
        description="what becomes of an audit beyond the tolerance: its cells are refined, or the run ends",
    )
    budget: int | None = Field(default=None, gt=0, description="calls of the component; a run that needs more stops")

    @field_validator("budget", mode="before")
    @classmethod
    def _calls(cls, given: Any) -> Any:
        return given.removesuffix("calls").strip() if isinstance(given, str) else given


class Fallback(Strict):
    """A model of the same kind that answers on, in this process, where a component cannot be started anew."""

    fallback: str = Field(description="the model that answers on")


class ComponentOptions(Strict):
    """Who answers for one piece of hardware; further keys are the model's own configuration."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    model: str | None = Field(
        default=None, description="a component model by name, or module:Class; default: the reference model of its kind"
    )
    run: Literal["inprocess", "process", "command", "container", "address", "island"] = Field(
        default="inprocess", description="where it runs; island: with the component that is wired to it"
    )
    command: list[str] | None = Field(
        default=None,
        min_length=1,
        description="run: command: the program that serves the component, and its arguments ({listen}: where to "
        "listen, {config}: a file of its configuration); else the model's own",
    )
    timeout_s: float = Field(
        default=60,
        gt=0,
        description="longest silence while it owes an answer; of a model that drives a tool, the tool's",
    )
    answer_timeout_s: float = Field(default=3600, gt=0, description="longest wait for one answer, whatever it says")
    start_timeout_s: float = Field(default=30, gt=0, description="longest wait until it serves")
    on_failure: Literal["recover", "fail"] | Fallback = Field(
        default="recover",
        description="recover: start it anew and bring it to where it was, to the identical result; fail: end the run; "
        "{fallback: MODEL}: as recover, and where that fails another model answers on (marked in the result)",
    )
    container: ContainerOptions | None = Field(default=None, description="of run: container")
    address: AddressOptions | None = Field(default=None, description="of run: address")
    surrogate: SurrogateOptions | None = Field(default=None, description="ask it only where interpolation would not do")

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.run == "address" and self.address is None:
            raise ValueError("run: address needs address: {target: ...}")
        if self.run == "command" and self.command is None:
            raise ValueError("run: command needs command: [program, arguments...]")
        if self.run == "command" and self.model is not None:
            raise ValueError("run: command has no model: what answers is the program's own")
        if self.run == "inprocess" and self.on_failure != "recover":
            raise ValueError(
                "on_failure is for components outside this process: run: process, command, container or address"
            )
        return self

    @property
    def config(self) -> dict[str, Any]:
        own = {} if self.command is None or self.run == "command" else {"command": self.command}
        return {**own, **(self.__pydantic_extra__ or {})}
