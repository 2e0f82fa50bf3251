"""What travels in a Struct comes back as it was."""

from __future__ import annotations

import math

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import example, given
from hypothesis import strategies as st
from metronome.component.v1 import codec

PLAIN = st.none() | st.booleans() | st.text(max_size=5) | st.integers(-(2**70), 2**70)
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@example({"@int": 1, "a": {"@int": None}, "b": [{"@@int": 2**60}, {"@int": "7"}]})
@given(st.dictionaries(st.text(max_size=5), TREES, max_size=4))
def test_integers_of_any_size_come_back_exact(data):
    assert codec.from_struct(codec.to_struct(data)) == data


def test_a_time_beyond_two_and_a_half_hours_loses_no_picosecond():
    state = {"now_ps": 2**53 + 1, "queue": [[1, 2**62 + 1]]}
    assert codec.from_struct(codec.to_struct(state)) == state


def test_what_is_no_number_comes_back_as_such():
    assert math.isnan(codec.from_struct(codec.to_struct({"x": math.nan}))["x"])


@pytest.mark.parametrize("digits", ["12x", "", 7, "1" * 60, None])
def test_an_integer_that_is_none(digits):
    struct = Struct()
    struct.update({"x": {codec.INTEGER: digits}})
    with pytest.raises(codec.MalformedMessage):
        codec.from_struct(struct)
