"""What the fuzzer has found, kept: each was a traceback, a hang, or a wrong result in silence."""

from __future__ import annotations

import copy
import json
import shutil
from random import Random

import pytest
import yaml
from metronome.hwmodels.accelerator.profiled.bundle import Bundle
from metronome.hwmodels.interface import ConfigError
from metronome.orchestrator.debug.expressions import number, parse
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.record.journal import Journal

from ..hwmodels import bundles
from . import mutate
from .good import SCENARIO
from .readers import CLUSTER, Readers


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    return Readers(tmp_path_factory.mktemp("mended"), SCENARIO)


def refused(done, *said):
    assert done.exit_code == 2 and "Traceback" not in done.output, done.output
    for text in said:
        assert text in done.output, done.output


@pytest.mark.parametrize("file", ["dense.csv", "per_sequence.csv", "attention.csv", "moe.csv"])
@pytest.mark.parametrize("time", ["0", "-1", "nan", "inf", "2e9"])
def test_a_time_that_no_kernel_takes(tmp_path, file, time):
    """Zero, negative and NaN changed results in silence; NaN reached result.json."""
    folder = bundles.write(tmp_path / "perf")
    path = folder / "tp1" / file
    lines = path.read_text().splitlines()
    lines[2] = lines[2].rpartition(",")[0] + f",{time}"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError) as caught:
        bundle = Bundle(folder, 1)
        bundle.moe() if file == "moe.csv" else bundle.attention()
    assert caught.value.field == f"{path}:3: time_us"
    assert caught.value.allowed.startswith(("a time above 0", "a finite number"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"skew_fit": 5}, "must be a mapping"),
        ({"skew_fit": {"enabled": True, "per_tp": {1: {"alpha_default": float("nan")}}}}, "n_bins"),
    ],
)
def test_a_skew_fit_that_is_none(tmp_path, change, said):
    folder = bundles.write(tmp_path / "perf")
    meta = yaml.safe_load((folder / "meta.yaml").read_text())
    (folder / "meta.yaml").write_text(yaml.safe_dump({**meta, **change}))
    with pytest.raises(ConfigError) as caught:
        Bundle(folder, 1).skew()
    assert said in f"{caught.value.field} {caught.value.allowed}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "s.yaml:2: YAML: is malformed: the key 'seed' is there twice"),
        ("[" * 5000, "is malformed"),
        ("a: 2024-13-45\n", "is malformed"),
        ("? [1, 2]\n: 3\n", "is malformed"),
    ],
)
def test_yaml(cli, tmp_path, text, said):
    (tmp_path / "s.yaml").write_text(text)
    done = cli("validate", tmp_path / "s.yaml")
    assert done.exit_code == 2 and "Traceback" not in done.output
    if "twice" in said:
        assert said in done.output


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("tests.fuzz.raises:Model", "ZeroDivisionError: on import"),
        ("os:system", "no component model"),
        (":", "Empty module name"),
        ("metronome.hwmodels.base:Model", "no component model"),
    ],
)
def test_a_model_that_cannot_be_loaded(cli, small, tmp_path, model, said):
    small["components"] = {"nvlink0": {"model": model}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    refused(cli("validate", tmp_path / "s.yaml"), "components.nvlink0.model", said)


@pytest.mark.parametrize("count", [4_000_000_000, 65_537])
def test_more_accelerators_than_any_node_has(cli, small, tmp_path, count):
    small["cluster"]["nodes"][0]["accelerators"]["count"] = count
    small["instances"][0]["accelerators"] = f"n0[0:{count}]"
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    refused(cli("validate", tmp_path / "s.yaml"), "65536")


@pytest.mark.parametrize("text", ["(" * 3000, "not " * 3000, "time > " + "9" * 5000])
def test_conditions(text):
    with pytest.raises(InputError):
        parse(text)
    with pytest.raises(InputError):
        number("9" * 5000)


@pytest.mark.parametrize(
    "arguments", [("../../evil",), ("a", "--host", "-x.lab"), ("a", "--host", "a/b"), ("a", "-o", "/proc/nowhere")]
)
def test_certs(cli, tmp_path, arguments):
    refused(cli("certs", *arguments, *(() if "-o" in arguments else ("-o", tmp_path / "c"))))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("nodes.0.cpu_mem", 5),
        ("nodes.0.power", 5),
        ("nodes.0.power.npu.H100", 1.0),
        ("nodes.0.instances.0", 5),
        ("nodes.0.instances.0.npu_mem", {}),
        ("nodes.0.instances.0.hardware", {}),
        ("nodes.0.instances.0.tp_size", "two"),
        ("nodes.0.instances.0.tp_size", 0),
        ("nodes.0.instances.0.model_name", "x" * 5000),
        ("link_bw", []),
    ],
)
def test_imports(cli, readers, tmp_path, path, value):
    data = copy.deepcopy(CLUSTER)
    *above, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    spot = data
    for key in above:
        spot = spot[key]
    spot[last] = value
    (tmp_path / "c.json").write_text(json.dumps(data))
    more = ("--profiles", readers.root, "--models", readers.folder / "models", "--workload", readers.folder / "w")
    refused(cli("import", "llmservingsim", tmp_path / "c.json", *more, "-o", tmp_path / "s.yaml"))


@pytest.mark.parametrize("seed", range(60))
def test_a_recording_with_right_checksums_and_wrong_content(readers, tmp_path, seed):
    """Read from end to end it is what it says, or refused; never an exception."""
    source = readers.folder / "run" / "recording"
    shutil.copytree(source, tmp_path / "r")
    (tmp_path / "r" / "journal").write_bytes(mutate.recording((source / "journal").read_bytes(), Random(seed)))
    try:
        journal = Journal(tmp_path / "r" / "journal")
        for _ in journal.blocks():
            pass
        journal.close()
    except InputError as error:
        assert str(tmp_path) in str(error)


@pytest.mark.parametrize("column", ["input", "output", "end"])
def test_a_run_whose_table_has_words_for_numbers(cli, readers, tmp_path, column):
    shutil.copytree(readers.folder / "run", tmp_path / "r", ignore=shutil.ignore_patterns("recording"))
    path = tmp_path / "r" / "requests.csv"
    head, *rows = path.read_text().splitlines()
    place = head.split(",").index(column)
    first = rows[0].split(",")
    path.write_text("\n".join([head, ",".join([*first[:place], "x", *first[place + 1 :]]), *rows[1:]]))
    refused(cli("compare", tmp_path / "r", readers.folder / "run"), str(path), column, "must be a whole number")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shared_prefix.groups", 10**18),
        ("shared_prefix.groups", 65537),
        ("shared_prefix.tokens", 1 << 25),
        ("input_tokens.mean", 1e30),
        ("output_tokens.max", 1 << 60),
    ],
)
def test_lengths_that_no_prompt_has(cli, tmp_path, field, value):
    """More groups than 65,536 had ids of one another's prefixes, in silence."""
    scenario = copy.deepcopy(SCENARIO)
    scenario["workload"]["shared_prefix"] = {"groups": 2, "tokens": 16}
    part, key = field.split(".")
    scenario["workload"][part] = {**scenario["workload"][part], key: value}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scenario))
    refused(cli("validate", tmp_path / "s.yaml"), f"workload.{field}")
