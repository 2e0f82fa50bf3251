"""`--kv-transfer-config` with a connector that keeps K and V in host memory: what --kv-offloading-size says, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.importers.servers import Beside, convert, line

MODEL = "meta-llama/Llama-3.1-8B"
SAID = "cpu_bytes_to_use"


def imported(*flags, variables=()):
    words = [*variables, "vllm", "serve", MODEL, *map(str, flags)]
    return convert([line("vllm", words)], Beside(Path("s.yaml")), Path())


def transfer(connector, role="kv_both", extra=None, **more):
    config = {"kv_connector": connector, "kv_role": role, **more}
    return [
        "--kv-transfer-config",
        json.dumps(config | ({} if extra is None else {"kv_connector_extra_config": extra})),
    ]


def native(**extra):
    return transfer("OffloadingConnector", extra={SAID: 40 * 2**30, **extra})


def lmcache(*variables, flags=(), **extra):
    named = {f"lmcache.{name}": value for name, value in extra.items()}
    words = [f"LMCACHE_{text}" for text in variables]
    return imported(*flags, *transfer("LMCacheConnectorV1", extra=named or None), variables=words)


def test_it_is_the_scenario_of_the_other_flag():
    """vllm/config/vllm.py, _post_init_kv_transfer_config: GiB of an engine; LMCache's are a rank's."""
    sizes = ["-tp", 2, "-pp", 2, "--kv-offloading-size", 40, "--kv-offloading-backend"]
    split = sizes[:4]
    assert imported(*split, *native(block_size=16)).scenario == imported(*sizes, "native").scenario
    theirs = imported(*sizes, "lmcache").scenario
    assert lmcache("MAX_LOCAL_CPU_SIZE=10", "LOCAL_CPU=True", "CHUNK_SIZE=256", flags=split).scenario == theirs
    assert lmcache(max_local_cpu_size=10, flags=split).scenario == theirs
    assert lmcache("MAX_LOCAL_CPU_SIZE=3", max_local_cpu_size=10, flags=split).scenario == theirs


def test_what_the_flags_of_the_engine_cannot_say_is_a_section():
    """vLLM's page of its connector has blocks of 64 tokens."""
    tier = {"name": "cpu", "memory": "dram", "size_gib": 40}
    found = imported(*native(block_size=64)).scenario
    section = {"backend": "native", "chunk_blocks": 4, "tiers": [tier], "instances": ["server"]}
    assert found["kv_offloading"] == section and "dram" in found["cluster"]["nodes"][0]["memory"]
    found = imported(*native(store_threshold=2, max_tracker_size=64_000)).scenario
    assert found["kv_offloading"]["tiers"] == [{**tier, "store_threshold": 2}]
    found = lmcache("MAX_LOCAL_CPU_SIZE=20", "CHUNK_SIZE=512", flags=["-tp", 2]).scenario
    assert found["kv_offloading"] == {**section, "backend": "lmcache", "chunk_blocks": 32}
    lines_ = [line("vllm", ["vllm", "serve", MODEL, *native(block_size=size)]) for size in (64, 64, 32)]
    two = convert(lines_[:2], Beside(Path("s.yaml")), Path()).scenario
    assert two["kv_offloading"]["instances"] == ["server", "server-1"]
    with pytest.raises(InputError, match="a scenario has one kv_offloading"):
        convert(lines_, Beside(Path("s.yaml")), Path())


def test_variables_that_nobody_looked_at_are_said():
    found = lmcache("MAX_LOCAL_CPU_SIZE=10", "TRACK_USAGE=false")
    assert found.unread == ["command line: environment: LMCACHE_TRACK_USAGE"]
    assert imported(variables=["LMCACHE_MAX_LOCAL_CPU_SIZE=10"]).unread  # of no connector


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: lmcache(), "LMCACHE_MAX_LOCAL_CPU_SIZE: is missing: GiB of host memory a device"),
        (lambda: lmcache("MAX_LOCAL_CPU_SIZE=much"), "LMCACHE_MAX_LOCAL_CPU_SIZE = 'much': must be above 0"),
        (lambda: lmcache("MAX_LOCAL_CPU_SIZE=9", "LOCAL_CPU=False"), "LMCACHE_LOCAL_CPU = 'False': is refused"),
        (lambda: lmcache("MAX_LOCAL_CPU_SIZE=9", "CHUNK_SIZE=many"), "LMCACHE_CHUNK_SIZE = 'many': must be above 0"),
        (
            lambda: lmcache("MAX_LOCAL_CPU_SIZE=9", "CHUNK_SIZE=8"),
            "CHUNK_SIZE = 8: must be a multiple of the 16 tokens",
        ),
        (lambda: lmcache("MAX_LOCAL_CPU_SIZE=9", "REMOTE_URL=redis://x"), "a store elsewhere is a tier more"),
        (lambda: lmcache("MAX_LOCAL_CPU_SIZE=9", "CACHE_POLICY=L"), "LMCACHE_CACHE_POLICY = 'L': is refused"),
        (lambda: imported(*transfer(["a"])), "where its K and V go is not modelled"),
        (lambda: lmcache("CONFIG_FILE=/x.yaml"), "LMCACHE_CONFIG_FILE = '/x.yaml': is refused: the file is not read"),
        (lambda: lmcache(max_local_cpu_size=9, use_layerwise=True), "lmcache.use_layerwise = True: is refused"),
        (lambda: lmcache(max_local_cpu_sise=9), "lmcache.max_local_cpu_sise = 9: is refused; known: lmcache.max_local"),
        (lambda: imported(*transfer("OffloadingConnector")), "cpu_bytes_to_use: is missing: bytes of host memory"),
        (lambda: imported(*native(cpu_bytes_to_use=0)), "cpu_bytes_to_use = 0: must be above 0"),
        (lambda: imported(*native(block_size=40)), "block_size = 40: must be a multiple of the 16 tokens"),
        (lambda: imported(*native(store_threshold="x")), "store_threshold = 'x': must be a whole number"),
        (lambda: imported(*native(max_tracker_size=9)), "max_tracker_size = 9: is refused"),
        (lambda: imported(*native(eviction_policy="arc")), "eviction_policy = 'arc': is refused"),
        (lambda: imported(*native(spec_name="TieringOffloadingSpec")), "kv_offloading.tiers of a scenario"),
        (lambda: imported(*native(num_cpu_blocks=64)), "num_cpu_blocks = 64: is refused; known: cpu_bytes_to_use"),
        (lambda: imported(*native(), "--kv-offloading-size", 3), "is refused beside --kv-offloading-size"),
        (lambda: imported(*transfer("OffloadingConnector", "kv_producer")), "kv_role = 'kv_producer': must be kv_both"),
        (lambda: imported(*transfer("OffloadingConnector", extra=[])), "is missing"),
        (lambda: imported(*transfer("OffloadingConnector", extra="x")), "must be a mapping"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(InputError) as caught:
        given()
    assert message in str(caught.value)


@pytest.mark.parametrize(("size", "chunk"), [(1, 256), (2, 512)])
def test_it_runs(cli, tmp_path, size, chunk):
    sent = ["--workload", "{format: random, random_input_len: 100, random_output_len: 4, num_prompts: 4}"]
    words = ["env", f"LMCACHE_MAX_LOCAL_CPU_SIZE={size}", f"LMCACHE_CHUNK_SIZE={chunk}", "vllm", "serve", MODEL]
    words += transfer("LMCacheConnectorV1")
    done = cli("import", "vllm", "-o", tmp_path / "s.yaml", *sent, "--", *words)
    assert done.exit_code == 0, done.output
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").exit_code == 0
