import json

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.workload.formats.llmservingsim import FORMAT, LLMServingSimOptions
from metronome.orchestrator.workload.reading import read as read_workload
from metronome.orchestrator.workload.registry import Reading


def read(path, strict=False, **options):
    """Line by line, as the format gives it; whole, with options."""
    reading = Reading(lambda name: path, strict=strict)
    chosen = LLMServingSimOptions(path=path.name, **options)
    return read_workload(chosen, reading) if options or strict else FORMAT.read(chosen, reading)


def write(tmp_path, *rows):
    path = tmp_path / "w.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


FLAT = {"input_toks": 3, "output_toks": 2, "arrival_time_ns": 5}


def test_flat_requests(tmp_path):
    ids = {"input_tok_ids": [1, 2, 3], "output_tok_ids": [4, 5]}
    first, second = read(write(tmp_path, FLAT, "", {**FLAT, **ids, "arrival_time_ns": 7}))
    assert (first.id, first.arrival_ps, first.input_tokens, first.output_tokens) == (0, 5000, 3, 2)
    assert first.token_ids is None
    assert (second.id, list(second.token_ids)) == (1, [1, 2, 3, 4, 5])


def test_sessions_reserve_an_id_a_turn_and_chain(tmp_path):
    turns = [{"input_toks": 3, "output_toks": 2, "tool_duration_ns": 9}, {"input_toks": 6, "output_toks": 1}]
    session, after = read(write(tmp_path, {"session_id": "s", "arrival_time_ns": 5, "sub_requests": turns}, FLAT))
    assert (session.id, session.session, session.think_ps) == (0, "s", 9000)
    assert (session.next_turn.id, session.next_turn.input_tokens, session.next_turn.next_turn) == (1, 6, None)
    assert after.id == 2


def test_it_streams(tmp_path):
    requests = read(write(tmp_path, FLAT, "not json"))
    assert next(requests).id == 0
    with pytest.raises(InputError, match=r"w\.jsonl:2: line: is not JSON"):
        next(requests)


def test_limit_counts_lines(tmp_path):
    assert len(list(read(write(tmp_path, FLAT, FLAT, "not json"), limit=2))) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "is empty"),
        (["[1]"], "w.jsonl:1: line = .1.: must be a JSON object"),
        ([{**FLAT, "input_toks": -4}], "input_toks = -4"),
        ([{**FLAT, "output_toks": 1.5}], "output_toks = 1.5"),
        ([{**FLAT, "arrival_time_ns": True}], "arrival_time_ns = True"),
        (['{"input_toks": NaN}'], "NaN is not a number"),
        ([{"input_toks": 3, "arrival_time_ns": 1}], "output_toks: is missing"),
        ([{**FLAT, "input_tok_ids": [1, 2]}], "input_tok_ids = 2: must be a list of 3 token ids"),
        ([{**FLAT, "input_tok_ids": [1, 2, 3], "output_tok_ids": [1]}], "output_tok_ids = 1: must be a list of 2"),
        ([{**FLAT, "input_tok_ids": [1, 2, "x"]}], "token ids must be 64-bit integers"),
        ([{"session_id": "s", "arrival_time_ns": 1, "sub_requests": []}], "at least one request"),
        ([{"session_id": "s", "arrival_time_ns": 1, "sub_requests": [FLAT]}] * 2, "session_id = 's': is used twice"),
        ([{**FLAT, "arrival_time_ns": 10**18}], "at most"),
    ],
)
def test_bad_lines_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        list(read(write(tmp_path, *rows)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        next(read(tmp_path / "absent.jsonl"))


def test_lines_out_of_order_are_sorted_and_strictly_refused(tmp_path):
    path = write(tmp_path, FLAT, {**FLAT, "arrival_time_ns": 4})
    assert [(request.id, request.arrival_ps) for request in read(path, limit=5)] == [(1, 4000), (0, 5000)]
    with pytest.raises(InputError, match="arrival of request 1.*must be sorted"):
        list(read(path, strict=True))
