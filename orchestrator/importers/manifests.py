"""Servers' command lines in a Compose file, or in Kubernetes manifests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..scenario.yaml import Loader
from .variables import Variables, of_pairs, of_words

#: the image whose entry point is a server, so that its arguments are all there is -> words that stand before them
ENTRY_POINTS = {"vllm-openai": ["vllm", "serve"]}
#: programs that start a container
RUNS = frozenset({"docker", "podman", "nerdctl"})
#: words that start a server -> tool
STARTS = {
    ("vllm", "serve"): "vllm",
    ("-m", "vllm.entrypoints.openai.api_server"): "vllm",
    ("sglang", "serve"): "sglang",
    ("-m", "sglang.launch_server"): "sglang",
    ("trtllm-serve",): "trtllm",
}
ENDS = re.compile(r"&&|\|\||[;|&\n]|(?<!\S)(?:2?>>?)")  # of a command in a shell's line
COMPOSE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")
MOST_PARTS = 100_000  # of a file
GPU_PRODUCT = "nvidia.com/gpu.product"  # label of nodes by NVIDIA's GPU feature discovery
KUBERNETES = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True, slots=True)
class Line:
    """One command line: of which tool, its words after the tool's own, how many copies of it run, of which image.

    Attributes:
        variables: environment variables of its engine. unread: places that may hold more of them.
        product: the GPU that its node must have, as the node's label calls it.
    """

    tool: str
    where: str
    name: str
    words: list[str]
    copies: int = 1
    image: str = ""
    variables: Variables = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    product: str = ""


def find(words: list[str]) -> tuple[str, list[str]] | None:
    """The tool that these words start, and the words after its own; None if they start none we know."""
    names = [word.rpartition("/")[2] for word in words]
    for i in range(len(words)):
        for start, tool in STARTS.items():
            if tuple(names[i : i + len(start)]) == start:
                rest = words[i + len(start) :]
                return tool, rest[1:] if tool == "trtllm" and rest[:1] == ["serve"] else rest
    if RUNS & set(names[:2]):  # docker run [options] vllm/vllm-openai:latest --model ...
        images = [i for i, name in enumerate(names) if name.partition(":")[0] in ENTRY_POINTS]
        images = [i for i in images if "/" in words[i] or ":" in words[i]] or images  # a container may have such a name
        if images:
            return find([*ENTRY_POINTS[names[images[0]].partition(":")[0]], *words[images[0] + 1 :]])
    for word in words:  # bash -c "vllm serve ..."
        if " " in word and any(start[-1] in word for start in STARTS):
            found = _in_shell(word)
            if found:
                return found
    return None


def _in_shell(text: str) -> tuple[str, list[str]] | None:
    """The server that a shell's line starts."""
    for part in ENDS.split(text.replace("\\\n", " ")):
        try:
            found = find(shlex.split(part, comments=True))
        except ValueError:
            continue  # half a quotation: the end was within it
        if found:
            return found
    return None


def lines(path: Path) -> list[Line]:
    """Every server that a file starts. Raises InputError if there is none."""
    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=Loader))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "--from", None, f"cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(str(path), "--from", None, f"is no YAML: {error}") from None
    found: list[Line] = []
    _check_size(path, documents)
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("services"), dict):
            found += _compose(path, document["services"])
        else:
            found += _kubernetes(path, document, 1)
    if not found:
        raise InputError(str(path), "--from", None, "holds no command of vllm serve, sglang or trtllm-serve")
    return found


def _check_size(path: Path, documents: list[Any]) -> None:
    """Raises InputError for what refers to itself, or is written out far larger than it is."""
    left, stack = MOST_PARTS, list(documents)
    while stack:
        part = stack.pop()
        left -= 1
        if left < 0:
            what = f"has more than {MOST_PARTS} parts, aliases written out, or one that holds itself"
            raise InputError(str(path), "--from", None, what)
        stack += part if isinstance(part, list) else part.values() if isinstance(part, dict) else ()


def _compose(path: Path, services: dict[str, Any]) -> Iterator[Line]:
    for name, service in services.items():
        if not isinstance(service, dict):
            continue
        where = f"{path}: services.{name}"
        words = [*_words(where, service.get("entrypoint")), *_words(where, service.get("command"))]
        words = [_filled_in(where, word) for word in words]
        deploy = service.get("deploy")
        copies = service.get("scale", deploy.get("replicas", 1) if isinstance(deploy, dict) else 1)
        if found := find(_started(service, words, "entrypoint")):
            image = COMPOSE.sub(lambda match: match[2] or match[0], str(service.get("image", "")))
            variables = of_pairs(_environment(service.get("environment"))) | of_words(words)
            unread = ("env_file",) if service.get("env_file") else ()
            yield Line(found[0], where, str(name), found[1], _copies(where, copies), image, variables, unread)


def _environment(given: Any) -> Iterator[tuple[object, object]]:
    """Names and values of a service's ``environment``, a mapping or a list; with variables' defaults in them."""
    pairs: list[tuple[object, object]] = list(given.items()) if isinstance(given, dict) else []
    for one in given if isinstance(given, list) else ():
        key, equals, text = str(one).partition("=")
        pairs.append((key, text if equals else None))
    for name, value in pairs:
        yield name, value if value is None else COMPOSE.sub(lambda match: match[2] or match[0], str(value))


def _kubernetes(path: Path, node: Any, copies: Any) -> Iterator[Line]:
    """Every list of containers below, with the replicas of what is around it."""
    if isinstance(node, list):
        for part in node:
            yield from _kubernetes(path, part, copies)
    if not isinstance(node, dict):
        return
    copies = node.get("replicas", copies)
    selector = node.get("nodeSelector")
    product = selector.get(GPU_PRODUCT) if isinstance(selector, dict) else None
    for container in node.get("containers") or ():
        if isinstance(container, dict):
            yield from _container(path, container, copies, str(product or ""))
    for key, part in node.items():
        if key not in ("containers", "initContainers"):
            yield from _kubernetes(path, part, copies)


def _container(path: Path, container: dict[str, Any], copies: Any, product: str) -> Iterator[Line]:
    name = str(container.get("name", "container"))
    where = f"{path}: containers.{name}"
    words = [*_words(where, container.get("command")), *_words(where, container.get("args"))]
    values = {str(entry.get("name")): entry.get("value") for entry in container.get("env") or () if entry}
    found = find(_started(container, words, "command"))
    if found is None:
        return

    def value(match: re.Match[str]) -> str:
        variable = match[1] or match[2] or match[3]
        if values.get(variable) is None:
            raise InputError(where, match[0], None, "is a variable that the container's env gives no value")
        return str(values[variable])

    image, count = str(container.get("image", "")), _copies(where, copies)
    variables = of_pairs(values.items()) | of_words(words)
    words = [KUBERNETES.sub(value, word) for word in found[1]]
    unread = ("envFrom",) if container.get("envFrom") else ()
    yield Line(found[0], where, name, words, count, image, variables, unread, product)


def _started(container: dict[str, Any], words: list[str], entry: str) -> list[str]:
    """The words, with those of the image's entry point before them where nothing replaces it."""
    image = str(container.get("image", "")).rpartition("/")[2].partition(":")[0]
    if container.get(entry):
        return words
    return [*ENTRY_POINTS.get(image, []), *words] if find(words) is None else words


def _words(where: str, given: Any) -> list[str]:
    if given is None:
        return []
    if isinstance(given, list):
        return [str(word) for word in given]
    try:
        return shlex.split(str(given))
    except ValueError as error:
        raise InputError(where, "command", given, f"cannot be split into words: {error}") from None


def _filled_in(where: str, word: str) -> str:
    """With the defaults of its variables; ``$$`` is a dollar."""

    def value(match: re.Match[str]) -> str:
        if match[2] is None:
            raise InputError(where, match[0], None, "is a variable without a default: write its value")
        return match[2]

    return "$".join(COMPOSE.sub(value, part) for part in word.split("$$"))


def _copies(where: str, given: Any) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 1024:
        return given
    raise InputError(where, "replicas", given, "must be a number from 0 to 1024")
