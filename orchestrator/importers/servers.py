"""Servers, by their command lines, as one scenario; what no command line says is given beside, or assumed aloud."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metronome.hwmodels import catalog

from ..errors import InputError
from .manifests import GPU_PRODUCT, RUNS, Line, find
from .sglang import TOOL as SGLANG
from .tool import Server, Tool
from .trtllm import TOOL as TRTLLM
from .variables import of_words
from .vllm import INTERNAL
from .vllm import TOOL as VLLM

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (VLLM, SGLANG, TRTLLM)}
#: images that are tagged by the version of the engine in them -> tool
IMAGES = {"vllm-openai": "vllm", "sglang": "sglang"}
TAG = re.compile(r"v?(\d+\.\d+)(\.\d+)?")
IMAGE = re.compile(rf"(?:[\w.-]+(?::\d+)?/)*(?:{'|'.join(IMAGES)})(?::[\w.-]+)?")
DEVICE, PER_NODE, SCALE_OUT = "h100-sxm", 8, "infiniband-ndr"
MOST_DEVICES = 65536  # of all nodes
HOST = {"type": "ddr5-4800", "channels": 8}  # memory of a node, where it is used
HOST_LINK = "pcie5-x16"  # the way to it
#: what `vllm bench serve --dataset-name random` sends by default
WORKLOAD = {
    "format": "random",
    "random_input_len": 1024,
    "random_output_len": 128,
    "num_prompts": 1000,
    "request_rate": float("inf"),
}


@dataclass(frozen=True, slots=True)
class Beside:
    """What a command line does not say; None is assumed, and said to be.

    Attributes:
        models: folder of ORG/MODEL.json or ORG/MODEL/config.json.
        target: the scenario file; paths in it are relative to its folder.
    """

    target: Path
    device: str | None = None
    per_node: int | None = None
    interconnect: str | None = None
    scale_out: str | None = None
    models: Path | None = None
    workload: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """A scenario as plain data; flags without effect, by server; what had to be assumed; what was not read."""

    scenario: dict[str, Any]
    notes: dict[str, dict[str, str]]
    assumed: list[str]
    unread: list[str]


def line(tool: str, words: list[str]) -> Line:
    """A command line given as it is, with or without the tool's own words before it. Raises InputError."""
    found = find([tool, *words] if words[:1] == ["serve"] else words)
    if found is None and tool != "vllm":
        found = tool, words[1:] if words[:1] == ["serve"] else words
    if found is None or found[0] != tool:
        start = {"vllm": "serve", "sglang": "serve --model-path"}.get(tool, "trtllm-serve")
        example = f"{start} MODEL [flags]"
        raise InputError("command line", " ".join(words[:3]) or tool, None, f"does not start {tool}: give {example}")
    unread = ("--env-file",) if any(word.partition("=")[0] == "--env-file" for word in words) else ()
    image = _image(words)
    return Line(tool, "command line", "server", found[1], image=image, variables=of_words(words), unread=unread)


def _image(words: list[str]) -> str:
    """The engine's image of ``docker run [options] IMAGE ...``; nothing of another command line."""
    if not RUNS & {word.rpartition("/")[2] for word in words[:2]}:
        return ""
    return next((word for word in words if IMAGE.fullmatch(word) and ("/" in word or ":" in word)), "")


def _version(line: Line) -> tuple[str, str]:
    """The engine of a command line, by the tag of its image if one of ours is of that version; what to say of it."""
    default = TOOLS[line.tool].version
    name, _, tag = line.image.rpartition("/")[2].partition(":")
    if IMAGES.get(name) != line.tool:
        named = line.tool in IMAGES.values()  # TensorRT-LLM says itself who stands in for it
        return default, f"engine {default}, the newest here: no image says another" if named else ""
    release = TAG.match(tag)
    if release:
        for version in (f"{line.tool}-{release[1]}{release[2] or ''}", f"{line.tool}-{release[1]}"):
            if version in TOOLS[line.tool].versions:
                return version, ""
    return default, f"engine {default}: the image {name} is {tag or 'latest'}, of which there is none here"


def _release(line: Line) -> tuple[int, ...]:
    """That of the engine in its image, by the tag; () where it does not say."""
    name, _, tag = line.image.rpartition("/")[2].partition(":")
    found = TAG.match(tag) if IMAGES.get(name) == line.tool else None
    return tuple(map(int, found[1].split("."))) if found else ()


def convert(lines: list[Line], beside: Beside, folder: Path) -> Imported:
    """The scenario of these command lines. ``folder``: where files that they name are found. Raises InputError."""
    servers = [
        (line, TOOLS[line.tool].server(line.where, line.words, folder, line.variables, _release(line)))
        for line in lines
    ]
    whole = [(line, server) for line, server in servers if not server.part]
    if not whole:
        raise InputError(servers[0][1].where, "--headless", None, "is a part of a server: give the command of its head")
    unread = [f"{line.where}: {text}" for line, server in whole if (text := _unread(line, server))]
    device, passed = _selected([line for line, _ in whole], beside)
    builder = _Builder(replace(beside, device=device))
    for given, server in whole:
        for copy in range(given.copies):
            builder.add(given, server, copy)
    if not builder.instances:
        raise InputError(servers[0][1].where, "replicas", 0, "leaves nothing to simulate")
    notes = {given.where: server.notes for given, server in whole}
    for _, server in whole:
        builder.assumed += [text for text in server.assumed if text not in builder.assumed]
    return Imported(builder.scenario([server for _, server in whole]), notes, builder.assumed, [*unread, *passed])


def _unread(line: Line, server: Server) -> str:
    """Variables of the engine that nothing here has looked at, and where more may stand."""
    names = [*(name for name in line.variables if name not in server.known), *line.unread]
    return f"environment: {', '.join(names)}" if names else ""


def _selected(lines: list[Line], beside: Beside) -> tuple[str | None, list[str]]:
    """The device, by what nodes must have where no option says it; labels that are not followed."""
    products = {line.product: catalog.canonical(line.product) for line in lines if line.product}
    known = {name for name in products.values() if name is not None}
    if beside.device is None and len(known) > 1:
        allowed = "devices of an import are alike: give --device, or import the servers one by one"
        raise InputError(lines[0].where, GPU_PRODUCT, sorted(products), allowed)
    device = beside.device or next(iter(known), None)
    ours = device and catalog.canonical(device)
    return device, [f"{GPU_PRODUCT} {product}" for product, name in products.items() if name is None or name != ours]


class _Builder:
    """Puts instances on nodes, one after another."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside
        self.assumed: list[str] = []
        self.instances: list[dict[str, Any]] = []
        self._nodes: list[int] = []  # devices taken of each
        self._kept: dict[str, Any] = {}
        self._keepers: list[str] = []  # instances that do
        self._device = self._or(beside.device, DEVICE, "device", "--device")
        try:
            self._device = catalog.device(self._device).name
        except KeyError as error:
            raise InputError("--device", self._device, None, str(error.args[0])) from None

    def _or(self, given: Any, default: Any, what: str, option: str) -> Any:
        if given is None:
            self.assumed.append(f"{what} {default} ({option})")
        return default if given is None else given

    def add(self, line: Line, server: Server, copy: int) -> None:
        """One more instance."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", line.name).strip("-_") or "server"
        name = name if line.copies == 1 else f"{name}-{copy}"
        taken = {instance["name"] for instance in self.instances}
        name = name if name not in taken else f"{name}-{len(taken)}"
        version, assumed = _version(line)
        if assumed and assumed not in self.assumed:
            self.assumed.append(assumed)
        if server.kv_offloading is not None:
            self._keep(line.where, name, server.kv_offloading)
        engine = {"version": version, **server.instance["engine"]}
        fields = {key: value for key, value in server.instance.items() if key != "engine"}
        places = self._place(line.where, server)
        model, found_by = _model(self._beside, line.where, server.model)
        if found_by and (text := f"model {found_by} of --models for {server.model}") not in self.assumed:
            self.assumed.append(text)
        self.instances.append(
            {
                "name": name,
                "model": model,
                "accelerators": places[0] if len(places) == 1 else places,
                "tensor_parallel_size": 1,
                **fields,
                "engine": engine,
            }
        )

    def _keep(self, where: str, name: str, section: dict[str, Any]) -> None:
        """One more instance that keeps K and V as a section of the scenario says, of which there is one."""
        if self._kept and self._kept != section:
            allowed = "must be that of the other servers: a scenario has one kv_offloading"
            raise InputError(where, "--kv-transfer-config", section, allowed)
        self._kept = section
        self._keepers.append(name)

    def _place(self, where: str, server: Server) -> list[str]:
        """Its devices: on the node begun last if they fit, else on new ones."""
        ranks, most = server.ranks, self._most(where, server)
        if ranks + sum(self._nodes) > MOST_DEVICES:
            raise InputError(where, "devices", ranks + sum(self._nodes), f"must be at most {MOST_DEVICES}")
        if self._nodes and ranks <= most - self._nodes[-1]:
            first = self._nodes[-1]
            self._nodes[-1] += ranks
            return [f"n{len(self._nodes) - 1}[{first}:{first + ranks}]"]
        places = []
        while ranks:
            here = min(ranks, most)
            places.append(f"n{len(self._nodes)}[0:{here}]")
            self._nodes.append(here)
            ranks -= here
        return places

    def _most(self, where: str, server: Server) -> int:
        """Devices of a node that it may take."""
        given = self._beside.per_node
        if server.nodes > 1:
            if server.ranks % server.nodes:
                raise InputError(where, "--nnodes", server.nodes, f"does not divide its {server.ranks} devices")
            return server.ranks // server.nodes
        if server.local_ranks:
            return server.ranks // int(server.instance.get("data_parallel_size", 1)) * server.local_ranks
        if server.per_node:
            return server.per_node
        if given is None and server.ranks > PER_NODE and not any("per node" in text for text in self.assumed):
            self.assumed.append(f"{PER_NODE} devices per node (--devices-per-node)")
        return given or PER_NODE

    def scenario(self, servers: list[Server]) -> dict[str, Any]:
        roles = {instance.get("role") for instance in self.instances}
        policies = {"pd-aware"} if "prefill" in roles else {server.router for server in servers if server.router}
        if INTERNAL in policies and len(self.instances) > 1:
            policies.remove(INTERNAL)  # it chooses among the ranks of one
        if INTERNAL in policies:
            self.assumed.append(f"router {INTERNAL}, vLLM's front end before its ranks (--set router.policy=...)")
        transfer = next((server.kv_transfer for server in servers if server.kv_transfer), None)
        nodes = [
            {"name": f"n{i}", "accelerators": {"type": self._device, "count": count}}
            for i, count in enumerate(self._nodes)
        ]
        workload = self._beside.workload
        if workload is None:
            self.assumed.append("what `vllm bench serve` sends by default (--workload)")
        networks = [self._network()] if sum(self._nodes) > 1 else []
        networks += self._with_host_memory(nodes)
        return {
            "name": self._beside.target.stem,
            "workload": WORKLOAD if workload is None else workload,
            "cluster": {"nodes": nodes, **({"networks": networks} if networks else {})},
            "instances": self.instances,
            **({"router": {"policy": policies.pop()}} if policies else {}),
            **({"kv_transfer": transfer} if transfer else {}),
            **({"kv_offloading": {**self._kept, "instances": self._keepers}} if self._kept else {}),
        }

    def _with_host_memory(self, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Where K and V, or weights, lie in host memory: each node has some, and a way to it; returns these ways."""
        engines = [instance.get("engine", {}) for instance in self.instances]
        used = any(engine.get("kv_offloading_size") or engine.get("cpu_offload_gb") for engine in engines)
        if not used and not self._kept:
            return []
        self.assumed.append(f"host memory of {HOST['channels']} channels of {HOST['type']} a node, over {HOST_LINK}")
        for node in nodes:
            node["memory"] = {"dram": HOST}
        return [
            {
                "name": f"host{i}",
                "connects": [f"n{i}.accelerators", f"n{i}.dram"],
                "topology": "pcie",
                "type": HOST_LINK,
            }
            for i in range(len(nodes))
        ]

    def _network(self) -> dict[str, Any]:
        kind = self._beside.interconnect or catalog.device(self._device).interconnect
        if kind and self._beside.interconnect is None:
            self.assumed.append(f"interconnect {kind} (--interconnect)")
        network: dict[str, Any] = {"name": "fabric", **(catalog.node_links(kind) if kind else {})}
        network["connects"] = [f"n{i}.accelerators" for i in range(len(self._nodes))]
        if len(self._nodes) > 1:
            beyond = self._or(self._beside.scale_out, SCALE_OUT, "between nodes", "--scale-out")
            network["scale_out"] = {"type": beyond}
        return network


def _model(beside: Beside, where: str, model: str) -> tuple[str, str]:
    """Where the model's config.json is, or the name of a bundled one; what it was found by, if not by its whole name.

    A path of another machine (``/data/ORG/MODEL``) is also looked for below ``models`` by its last parts.
    """
    elsewhere, parts = Path(model).is_absolute(), Path(model).parts
    names = ["/".join(parts[i:]) for i in range(1, len(parts))] if elsewhere else [model]
    here = [(place, "") for place in (Path(model), Path(model) / "config.json")]
    below = [
        (place, name if elsewhere else "")
        for name in names
        for folder in ([] if beside.models is None else [beside.models])
        for place in (folder / f"{name}.json", folder / name / "config.json")
    ]
    places = [*here, *below] if elsewhere else [*below, *here]
    for place, found_by in places:
        if place.is_file() and place.suffix == ".json":
            if place.name == "config.json":
                place = place.parent  # with hf_quant_config.json, where there is one
            return os.path.relpath(place.resolve(), beside.target.resolve().parent), found_by
    if model in catalog.model_names():
        return model, ""
    allowed = "there is no config.json of it: put it as ORG/MODEL.json into a folder and give that with --models"
    raise InputError(where, "model", model, f"{allowed}; bundled: {', '.join(catalog.model_names())}")
