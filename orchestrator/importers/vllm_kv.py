"""``--kv-transfer-config`` of vLLM: K and V that go from prefill to decode, or into host memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..units import GIB
from .tool import Server, put

SPOT = "--kv-transfer-config"
EXTRA = f"{SPOT}.kv_connector_extra_config"
#: connectors that hand K and V from prefill to decode -> how they do (vllm/distributed/kv_transfer/kv_connector/v1):
#: NIXL's and Mooncake's decode side asks once the prompt is computed, P2pNccl's prefill side sends each layer's
CONNECTORS = {
    "NixlConnector": {"mode": "pull"},
    "MooncakeConnector": {"mode": "pull"},
    "P2pNcclConnector": {"mode": "push", "granularity": "layer"},
}
#: connectors that keep K and V in host memory -> whose rules those are
TIERS = {"OffloadingConnector": "native", "LMCacheConnectorV1": "lmcache"}
ROLES = {"kv_producer": "prefill", "kv_consumer": "decode"}
#: fields of its KVTransferConfig that say how the two sides find one another
ADDRESSES = (
    "engine_id",
    "kv_rank",
    "kv_parallel_size",
    "kv_ip",
    "kv_port",
    "kv_buffer_size",
    "kv_connector_extra_config",
    "enable_permute_local_kv",
    "kv_load_failure_policy",
)
#: LMCache's settings, lmcache.NAME or LMCACHE_NAME -> what would be wrong unless they have one of these values
LMCACHE = {
    "local_cpu": (("true", "1", "yes", "on"), "without host memory K and V would go elsewhere"),
    "cache_policy": (("lru",), "kv_offloading.tiers of a scenario says what goes first"),
    "use_layerwise": (
        ("false", "0", "no", "off"),
        "kv_offloading.recall of a scenario says that layers come one by one",
    ),
    "enable_blending": (("false", "0", "no", "off"), "parts of a prompt that are no prefix would be found, too"),
    "local_disk": ((), "a drive is a tier more: kv_offloading.tiers of a scenario has several"),
    "remote_url": ((), "a store elsewhere is a tier more: kv_offloading.tiers of a scenario has several"),
    "config_file": ((), "the file is not read: give its settings as variables"),
}
SIZE, CHUNK = FIGURES = "max_local_cpu_size", "chunk_size"


def kv_transfer(server: Server, value: Any) -> None:
    """The role of an instance whose K and V another one makes or takes; or a tier in host memory, for ``tier``."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise InputError(server.where, SPOT, value, "must be a mapping")
    connector, role = str(value.get("kv_connector")), value.get("kv_role")
    if connector in TIERS:
        server.kv_tier = value
    elif connector in CONNECTORS:
        if str(role) not in ROLES:
            allowed = "does not say which side it is; must be kv_producer (prefill) or kv_consumer (decode)"
            raise InputError(server.where, f"{SPOT}.kv_role", role, allowed)
        server.instance["role"] = ROLES[str(role)]
        server.kv_transfer = CONNECTORS[connector]
    else:
        allowed = f"is refused: where its K and V go is not modelled; can be {', '.join([*CONNECTORS, *TIERS])}"
        raise InputError(server.where, f"{SPOT}.kv_connector", value.get("kv_connector"), allowed)
    for key, given in value.items():
        if key == "kv_buffer_device":
            if given != "cuda" and connector not in TIERS:
                allowed = "is refused: K and V would go through host memory; can be cuda"
                raise InputError(server.where, f"{SPOT}.{key}", given, allowed)
        elif key in ADDRESSES:
            if connector not in TIERS or key != "kv_connector_extra_config":
                server.notes[f"{SPOT}.{key}"] = "how the two sides find one another"
        elif key not in ("kv_connector", "kv_role"):
            known = ", ".join(["kv_connector", "kv_role", "kv_buffer_device", *ADDRESSES])
            raise InputError(server.where, f"{SPOT}.{key}", given, f"is refused; known: {known}")


def tier(server: Server) -> None:
    """A connector that keeps K and V in host memory, as vLLM's own words for it: when all flags are read."""
    if server.kv_tier is None:
        return
    backend, role = TIERS[server.kv_tier["kv_connector"]], server.kv_tier.get("kv_role")
    if role != "kv_both":
        raise InputError(server.where, f"{SPOT}.kv_role", role, "must be kv_both: it stores K and V, and recalls them")
    if "kv_offloading_size" in server.instance["engine"]:
        raise InputError(
            server.where, SPOT, None, "is refused beside --kv-offloading-size, which replaces it: give one"
        )
    extra = server.kv_tier.get("kv_connector_extra_config") or {}
    if not isinstance(extra, dict):
        raise InputError(server.where, EXTRA, extra, "must be a mapping")
    size, at, chunk, threshold = _native(server, extra) if backend == "native" else _lmcache(server, extra)
    tokens, block = {"native": 0, "lmcache": 256}[backend], server.instance["engine"].get("block_size", 16)
    if chunk in (None, tokens or block) and threshold < 2:
        put(server.instance, "engine.kv_offloading_size", size)
        put(server.instance, "engine.kv_offloading_backend", backend)
        return
    blocks, rest = divmod(int(_number(server, at, chunk, "tokens that move together")), block) if chunk else (None, 0)
    if rest or blocks == 0:
        raise InputError(server.where, at, chunk, f"must be a multiple of the {block} tokens of a KV block")
    kept = {"name": "cpu", "memory": "dram", "size_gib": size}
    server.kv_offloading = {
        "backend": backend,
        **({"chunk_blocks": blocks} if blocks else {}),
        "tiers": [kept | ({"store_threshold": threshold} if threshold > 1 else {})],
    }


#: GiB of an engine's host memory; where it says how many tokens move together, and how many; blocks are kept that were
#: asked for so often
Tier = tuple[float, str, Any, int]


def _native(server: Server, extra: Mapping[str, Any]) -> Tier:
    """Of vllm/v1/kv_offload/spec.py, cpu/spec.py."""
    harmless: dict[str, tuple[tuple[Any, ...], str]] = {
        "spec_name": (("CPUOffloadingSpec",), "more tiers than one are kv_offloading.tiers of a scenario"),
        "max_tracker_size": ((64_000,), "of so many blocks it is counted how often they are asked for"),
        "eviction_policy": (("lru",), "kv_offloading.tiers of a scenario says what goes first"),
    }
    for key, given in extra.items():
        if key in harmless:
            values, why = harmless[key]
            if given not in values:
                raise InputError(server.where, f"{EXTRA}.{key}", given, f"is refused: {why}; can be {values[0]}")
        elif key not in ("cpu_bytes_to_use", "block_size", "store_threshold"):
            known = ", ".join(["cpu_bytes_to_use", "block_size", "store_threshold", *harmless])
            raise InputError(server.where, f"{EXTRA}.{key}", given, f"is refused; known: {known}")
    size = _number(server, f"{EXTRA}.cpu_bytes_to_use", extra.get("cpu_bytes_to_use"), "bytes of host memory") / GIB
    threshold = extra.get("store_threshold") or 0
    if not isinstance(threshold, int):
        raise InputError(server.where, f"{EXTRA}.store_threshold", threshold, "must be a whole number")
    return size, f"{EXTRA}.block_size", extra.get("block_size"), threshold


def _lmcache(server: Server, extra: Mapping[str, Any]) -> Tier:
    """LMCache's GiB are a device's, as vLLM's own --kv-offloading-size divides them."""
    said: dict[str, tuple[str, Any]] = {}
    for name in (*LMCACHE, *FIGURES):
        variable = f"LMCACHE_{name.upper()}"
        if variable in server.variables:
            server.known.add(variable)
            said[name] = variable, server.variables[variable]
    for key, given in extra.items():
        name = str(key).removeprefix("lmcache.")
        if name == key or name not in (*LMCACHE, *FIGURES):
            known = ", ".join(f"lmcache.{name}" for name in (*FIGURES, *LMCACHE))
            raise InputError(server.where, f"{EXTRA}.{key}", given, f"is refused; known: {known}")
        said[name] = f"{EXTRA}.{key}", given
    for name, (values, why) in LMCACHE.items():
        spot, given = said.get(name, ("", ""))
        if spot and str(given).lower() not in values:
            raise InputError(server.where, spot, given, f"is refused: {why}")
    spot, given = said.get(SIZE, (f"{SPOT}: LMCACHE_{SIZE.upper()}", None))
    what = f"GiB of host memory a device; it may be lmcache.{SIZE} of kv_connector_extra_config, too"
    ranks = [server.instance.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline")]
    size = _number(server, spot, given, what) * int(ranks[0]) * int(ranks[1])
    spot, given = said.get(CHUNK, ("", None))
    return size, spot, int(_number(server, spot, given, "tokens that move together")) if spot else None, 0


def _number(server: Server, spot: str, given: Any, what: str) -> float:
    try:
        found = float(given)
    except (TypeError, ValueError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise InputError(server.where, spot, given, f"{'is missing' if given is None else 'must be above 0'}: {what}")
    return found
