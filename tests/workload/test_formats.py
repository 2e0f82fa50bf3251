"""Every format: real files read whole, small ones by hand, and what is refused."""

from __future__ import annotations

import csv
import json
import sys
from itertools import pairwise

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.kv.hashing import hash_blocks
from metronome.orchestrator.workload.reading import read
from metronome.orchestrator.workload.registry import Reading, guess, known
from metronome.orchestrator.workload.schema import parse

from ..small import SMALL as SMALL_SCENARIO

#: file -> (format, rows, last arrival in s, prompt tokens, answer tokens)
TRACES = {
    "azure_llm_2023/AzureLLMInferenceTrace_code.csv": ("azure", 8819, 3435.948056, 18059974, 245896),
    "azure_llm_2023/AzureLLMInferenceTrace_conv.csv": ("azure", 19366, 3501.721937, 22361870, 4088665),
    "mooncake/conversation_trace.jsonl": ("mooncake", 12031, 3536.999, 144793823, 4122048),
    "mooncake/synthetic_trace.jsonl": ("mooncake", 3993, 1022.025, 61194628, 595432),
    "arxiv_summ_vidur/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv": (
        "vidur",
        28257,
        0,
        73131321,
        8234948,
    ),
}
LENGTHS = {"input_tokens": {"mean": 500}, "output_tokens": {"mean": 200}}


def requests(folder, strict=False, **options):
    reading = Reading(lambda name: folder / name, strict=strict)
    return list(read(parse(options), reading)), reading.notes


@pytest.mark.parametrize("name", TRACES)
def test_real_traces_are_read_whole(shared, name):
    form, rows, last, inputs, outputs = TRACES[name]
    assert guess(shared / "traces" / name) == form
    found, _ = requests(shared / "traces", format=form, path=name)
    assert (len(found), sum(r.input_tokens for r in found), sum(r.output_tokens for r in found)) == (
        rows,
        inputs,
        outputs,
    )
    assert found[-1].arrival_ps == round(last * 10**12)


@pytest.mark.parametrize("name", [name for name in TRACES if name.endswith(".csv")])
def test_the_sums_are_those_of_the_file(shared, name):
    """Counted a second time, without any code of ours."""
    with (shared / "traces" / name).open(newline="") as file:
        _, *rows = csv.reader(file)
    first = 1 if name.startswith("azure") else 0
    sums = [sum(int(row[first + i]) for row in rows) for i in (0, 1)]
    assert (len(rows), *sums) == (TRACES[name][1], *TRACES[name][3:])


@pytest.mark.parametrize(
    ("folder", "lengths"), [("servegen/data/reason/deepseek-r1", {}), ("servegen/data/language/m-small", LENGTHS)]
)
def test_servegen_clients_keep_their_rates(shared, folder, lengths):
    assert guess(shared / "traces" / folder) == "servegen"
    found, _ = requests(shared / "traces", format="servegen", path=folder, window=(0, 600), **lengths)
    expected = 0.0
    for file in (shared / "traces" / folder).glob("*-trace.csv"):
        for row in csv.reader(file.open()):
            expected += 600 * float(row[1]) if float(row[0]) < 600 else 0
    assert len(found) == pytest.approx(expected, rel=0.15)
    assert all(a.arrival_ps <= b.arrival_ps for a, b in pairwise(found))


def test_mooncakes_ideal_prefix_share(shared):
    """36.6 % of the conversation's blocks are hit with an infinite cache (FAST'25); 37.3 % of its tokens."""
    found, _ = requests(shared / "traces", format="mooncake", path="mooncake/conversation_trace.jsonl")
    seen, hit, blocks = set(), 0, 0
    for request in found:
        names = hash_blocks(request.token_ids, 512)
        blocks += -(-request.input_tokens // 512)
        hit += next((i for i, name in enumerate(names) if name not in seen), len(names))
        seen.update(names)
    assert hit / blocks == pytest.approx(0.366, abs=0.005)


def test_blocks_of_any_size_that_divides_512_hit_the_same(shared):
    found, _ = requests(shared / "traces", format="mooncake", path="mooncake/synthetic_trace.jsonl", limit=150)
    hits = set()
    for size in (16, 64, 512):
        seen, hit = set(), 0
        for request in found:
            names = hash_blocks(request.token_ids[: request.input_tokens // 512 * 512], size)
            hit += size * next((i for i, name in enumerate(names) if name not in seen), len(names))
            seen.update(names)
        hits.add(hit)
    assert len(hits) == 1 and hits.pop() > 0


def write(folder, name, text):
    (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))
    return name


SHAREGPT = [
    {"id": "a", "conversations": [{"from": "human", "value": "w" * 40}, {"from": "gpt", "value": "x" * 80}]},
    {"id": "b", "conversations": [{"from": "human", "value": "w" * 40}]},
    {"id": "c", "conversations": [{"from": "human", "value": "w" * 8000}, {"from": "gpt", "value": "x" * 80}]},
]
AIPERF = {
    "data": [
        {
            "session_id": "s",
            "payloads": [
                {"messages": [{"role": "user", "content": "a" * 40}], "max_tokens": 5},
                {"messages": [{"role": "user", "content": [{"type": "text", "text": "a" * 80}]}], "max_tokens": 6},
            ],
        }
    ]
}
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,API log\n"
SMALL = {
    "burst.csv": (BURST, {}, [(5.0, 472, 18), (45.0, 1087, 0)]),
    "azure24.csv": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n"
        "2024-05-10 00:00:01.5+00:00,2399,6\n",
        {},
        [(0.0, 2162, 5), (1.49007, 2399, 6)],
    ),
    "timed.jsonl": (
        '{"timestamp": 2, "input_length": 20, "output_length": 3, "hash_ids": [7, 9]}',
        {"format": "timed_trace"},
        [(2.0, 20, 3)],
    ),
    "share.json": (SHAREGPT, {}, [(0.0, 10, 20)]),
    "inputs.json": (AIPERF, {}, [(0.0, 10, 5)]),
    "any.csv": (
        "when,in,out,prio\n1500,10,2,1\n2500,11,3,0\n",
        {
            "format": "csv",
            "unit": "ms",
            "columns": {"arrival": "when", "input_tokens": "in", "output_tokens": "out", "priority": "prio"},
        },
        [(1.5, 10, 2), (2.5, 11, 3)],
    ),
    "vidur.csv": (
        "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,10,2\n",
        {"arrivals": True},
        [(0.5, 10, 2)],
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_files_of_each_format(tmp_path, name):
    text, options, expected = SMALL[name]
    path = tmp_path / write(tmp_path, name, text)
    form = options.get("format") or guess(path)
    found, _ = requests(tmp_path, **{"format": form, "path": name, **options})
    assert [(r.arrival_ps / 1e12, r.input_tokens, r.output_tokens) for r in found] == expected


@pytest.mark.parametrize(
    ("name", "text", "form", "said"),
    [
        (
            "w.jsonl",
            '{"input_toks": 9, "output_toks": 1, "arrival_time_ns": 0, "abort_after_n": 5, "session_id": "a"}',
            None,
            ["abort_after_n is not read; did you mean 'abort_after_ns'?", "session_id is not read"],
        ),
        (
            "s.jsonl",
            '{"arrival_time_ns": 0, "sub_requests": [{"input_toks": 9, "output_toks": 1, "tool_ns": 3}], "prio": 1}',
            None,
            ["prio is not read", "tool_ns is not read"],
        ),
        (
            "a.csv",
            "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2025-01-16 18:15:46.68,2,374,44\n",
            None,
            ["NumImages is not read"],
        ),
        (
            "t.jsonl",
            '{"timestamp": 2, "input_length": 9, "output_length": 3, "hash_ids": [7], "turn": 1}',
            "timed_trace",
            ["turn is not read"],
        ),
        (
            "inputs.json",
            {"data": [{"payloads": [{"prompt": "a" * 40, "max_tokens": 5, "tools": [{"type": "function"}]}]}]},
            None,
            ["tools is not read"],
        ),
    ],
)
def test_what_is_not_read_is_said(tmp_path, name, text, form, said):
    form = form or guess(tmp_path / write(tmp_path, name, text))
    _, notes = requests(tmp_path, format=form, path=write(tmp_path, name, text))
    assert all(any(part in note for note in notes) for part in said), notes


def test_texts_say_by_which_rule_they_are_measured(tmp_path):
    _, notes = requests(tmp_path, format="sharegpt", path=write(tmp_path, "s.json", SHAREGPT))
    assert "characters / 4" in notes[0] and "2 of 3 conversations left out" in notes[1]


def test_a_tokenizer_gives_ids(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[UNK]": 0, "w" * 40: 1, "x" * 80: 2}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.save(str(tmp_path / "tokenizer.json"))
    path = write(tmp_path, "s.json", SHAREGPT)
    found, _ = requests(tmp_path, format="sharegpt", path=path, tokenizer="tokenizer.json", filter=False)
    assert (found[0].input_tokens, list(found[0].token_ids)) == (1, [1])


SPARSE = {"input_tokens": "i", "output_tokens": "o", "session": "s", "priority": "p", "abort_after": "a"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": 3}, True),
        ({"seed": 3, "scale": 2}, True),
        ({"seed": 3, "request_rate": "inf"}, True),
        ({"seed": 3, "request_rate": 2}, False),
        ({"seed": 3, "rates": [{"rate": 1, "duration_s": 100}]}, False),
        ({"seed": 3, "shuffle": True}, False),
        ({}, False),
    ],
)
def test_a_seed_of_nothing_drawn_is_said_to_be_without_effect(tmp_path, options, told):
    write(tmp_path, "t.csv", ROWS)
    _, notes = requests(tmp_path, **COLUMNS, **options)
    assert ("without effect: seed, since nothing of the workload is drawn or shuffled" in notes) == told


def test_a_window_is_cut_before_a_limit_and_that_before_who_asks_is_dealt_out(tmp_path):
    write(tmp_path, "t.csv", ROWS)
    found, _ = requests(tmp_path, **COLUMNS, window=(2, 8), limit=3, shuffle=True, scale=2)
    assert [r.arrival_ps // 10**12 for r in found] == [0, 2, 4]
    assert sorted(r.input_tokens for r in found) == [12, 13, 14]


def test_an_empty_cell_of_a_table_is_none(tmp_path):
    path = write(tmp_path, "t.csv", "i,o,s,p,a\n5,1,x,3,2\n5,1,,,\n")
    found, _ = requests(tmp_path, format="csv", path=path, columns=SPARSE)
    assert [(r.session, r.priority, r.abort_after_ps) for r in found] == [("x", 3, 2 * 10**12), (None, 0, None)]


def test_an_empty_cell_of_a_parquet_table_is_none_and_a_fraction_no_priority(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"i": [5, 5], "o": [1, 1], "s": ["x", None], "p": [3.0, None], "a": [2.0, None]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "t.parquet")
    found, _ = requests(tmp_path, format="csv", path="t.parquet", columns=SPARSE)
    assert [(r.session, r.priority, r.abort_after_ps) for r in found] == [("x", 3, 2 * 10**12), (None, 0, None)]
    parquet.write_table(pyarrow.table({**rows, "p": [3.5, float("inf")]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="must be a whole number"):
        requests(tmp_path, format="csv", path="t.parquet", columns=SPARSE)


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"t": [0, 2], "i": [5, 6], "o": [1, 2]}), tmp_path / "t.parquet")
    columns = {"arrival": "t", "input_tokens": "i", "output_tokens": "o"}
    found, _ = requests(tmp_path, format="csv", path="t.parquet", columns=columns)
    assert [(r.arrival_ps, r.input_tokens, r.output_tokens) for r in found] == [(0, 5, 1), (2 * 10**12, 6, 2)]


ROWS = "t,i,o\n" + "".join(f"{t},{10 + t},2\n" for t in range(10))
COLUMNS = {"columns": {"arrival": "t", "input_tokens": "i", "output_tokens": "o"}, "format": "csv", "path": "t.csv"}


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, range(10)),
        ({"limit": 3}, range(3)),
        ({"window": (2, 5)}, [0, 1, 2]),
        ({"scale": 0.5}, [t / 2 for t in range(10)]),
        ({"rate": 4}, [t / 4 for t in range(10)]),
        ({"window": (2, 6), "rate": 2, "limit": 3}, [0, 0.5, 1]),
        ({"request_rate": "inf"}, [0] * 10),
        ({"request_rate": 2, "burstiness": float("inf")}, [(t + 1) / 2 for t in range(10)]),
    ],
)
def test_times_are_transformed(tmp_path, options, seconds):
    write(tmp_path, "t.csv", ROWS)
    found, _ = requests(tmp_path, **COLUMNS, **options)
    assert [r.arrival_ps / 1e12 for r in found] == list(seconds)


def test_shuffling_keeps_arrivals_and_is_by_seed(tmp_path):
    write(tmp_path, "t.csv", ROWS)
    one, two, other = (requests(tmp_path, **COLUMNS, shuffle=True, seed=seed)[0] for seed in (1, 1, 2))
    assert one == two != other
    assert [r.arrival_ps for r in one] == [t * 10**12 for t in range(10)]
    assert sorted(r.input_tokens for r in one) == list(range(10, 20)) != [r.input_tokens for r in one]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "mooncak", "path": "x"}, "did you mean 'mooncake'"),
        ({"format": "mooncake", "path": "x", "limt": 3}, "unknown key 'limt'; did you mean 'limit'"),
        ({"format": "mooncake", "path": "x", "rate": 3, "scale": 2}, "exclude one another"),
        ({"format": "sharegpt", "path": "x", "rate": 3}, "no times of arrival"),
        ({"format": "nowhere:FORMAT", "path": "x"}, "cannot be loaded"),
        ({"format": "random", "request_rate": -1}, "a number above 0, or inf"),
    ],
)
def test_wrong_options_are_refused_with_the_nearest_name(options, message):
    with pytest.raises(ValueError, match=message):
        parse(options)


@pytest.mark.parametrize(
    ("form", "name", "text", "message"),
    [
        (
            "mooncake",
            "m.jsonl",
            '{"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1]}',
            "2 blocks",
        ),
        ("mooncake", "m.jsonl", '{"timestamp": 0, "input_length": 6, "output_length": 1, "delay": 5}', "not modelled"),
        ("azure", "a.csv", BURST, "no column TIMESTAMP.*looks like format burstgpt"),
        ("burstgpt", "b.csv", BURST.replace("472", "many"), "b.csv:2: Request tokens = 'many'"),
        ("azure", "e.csv", "", "is empty"),
        (
            "aiperf",
            "i.json",
            '{"data": [{"payloads": [{"prompt": "a", "max_tokens": 5, "n": 4}]}]}',
            "n = 4: must be 1",
        ),
    ],
)
def test_wrong_files_are_refused_with_the_line(tmp_path, form, name, text, message):
    with pytest.raises(InputError, match=message):
        requests(tmp_path, format=form, path=write(tmp_path, name, text))


def test_a_format_of_ones_own_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "tsv_format.py").write_text(
        """
from typing import Literal
from metronome.orchestrator.workload.options import TimedTraceOptions
from metronome.orchestrator.workload.registry import Format
from metronome.orchestrator.workload.request import Request

class Options(TimedTraceOptions):
    format: Literal["tsv"] = "tsv"
    separator: str = "\\t"

def read(options, reading):
    for number, line in enumerate(reading.path(options.path).open()):
        second, prompt, answer = map(int, line.split(options.separator))
        yield Request(number, second * 10**12, prompt, answer)

FORMAT = Format(Options, read)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "w.tsv", "0\t10\t2\n3\t11\t2\n")
    found, _ = requests(tmp_path, format="tsv_format:FORMAT", path="w.tsv", scale=2)
    assert [(r.arrival_ps, r.input_tokens) for r in found] == [(0, 10), (6 * 10**12, 11)]
    with pytest.raises(ValueError, match="did you mean 'separator'"):
        parse({"format": "tsv_format:FORMAT", "path": "w.tsv", "seperator": ";"})
    sys.modules.pop("tsv_format")


def test_every_format_of_ours_is_known():
    assert {"azure", "burstgpt", "csv", "mooncake", "random", "servegen", "sharegpt", "synthetic"} <= set(known())


def test_a_file_without_times_of_arrival_is_said_to_be_sent_at_once(tmp_path):
    rows = "num_prefill_tokens,num_decode_tokens\n10,2\n11,3\n"
    path = write(tmp_path, "v.csv", rows)
    told = f"{path} has no times of arrival: all are sent at once; request_rate says otherwise"
    assert told in requests(tmp_path, format="vidur", path=path)[1]
    for other in ({"request_rate": 2.0}, {"request_rate": "inf"}, {"max_concurrency": 1}):
        assert told not in requests(tmp_path, format="vidur", path=path, **other)[1]


def test_servegen_says_which_folder_it_wants(tmp_path, cli):
    clients = tmp_path / "all" / "conv"
    clients.mkdir(parents=True)
    (clients / "chunk-0-trace.csv").write_text("0,1,1,Gamma,1,1\n")
    for path, instead in (("all", "with chunk-N-trace.csv: conv in it"), ("all/conv/chunk-0-trace.csv", str(clients))):
        with pytest.raises(InputError, match="ServeGen wants the folder") as error:
            requests(tmp_path, format="servegen", path=path, **LENGTHS)
        assert instead in str(error.value)
        scenario = SMALL_SCENARIO | {"workload": {"path": path}}
        (tmp_path / "s.yaml").write_text(json.dumps(scenario))
        done = cli("validate", tmp_path / "s.yaml")
        assert done.exit_code == 2 and "ServeGen wants the folder" in done.output and instead in done.output
