"""One pool: what it keeps, what goes when it is full, and that its books balance."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.errors import BadAnswer, InputError
from metronome.orchestrator.serving.tiers.eviction import POLICIES, Owner, make_eviction
from metronome.orchestrator.serving.tiers.pool import TierPool

# Requests: a session and how many of its chunks they begin with; sessions' chunks form chains.
requests = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8)), min_size=1, max_size=60)


def pool(policy, size, threshold=0):
    return TierPool("pool", size, 1024, make_eviction("x", policy), threshold)


def chain(session, length):
    return [b"%d/%d" % (session, i) for i in range(length)]


def serve(made, session, length):
    """Look up, then store what lacks, as a request does; returns its hits."""
    names = chain(session, length)
    made.touch(names)
    made.asked(names)
    hits = next((i for i, name in enumerate(names) if not made.has(name)), length)
    new = made.prepare(names[hits:], Owner(0, str(session), session)) if hits < length else []
    if new:
        made.touch(names)
        made.written(new)
    return hits


@settings(max_examples=150, deadline=None)
@given(requests, st.integers(1, 20), st.sampled_from(POLICIES), st.sampled_from([0, 2]))
def test_what_was_allocated_is_there_or_freed(work, size, policy, threshold):
    made = pool(policy, size, threshold)
    for session, length in work:
        serve(made, session, length)
        assert made.counts.allocated == made.counts.freed + made.used and made.used <= size
        assert made.whole == made.used


@settings(max_examples=150, deadline=None)
@given(requests, st.integers(8, 20))
def test_a_larger_pool_never_hits_less_under_lru(work, size):
    """The stack property; a request's chunks all fit, so that none is refused."""
    small, large = pool("lru", size), pool("lru", size + 5)
    for session, length in work:
        assert serve(small, session, length) <= serve(large, session, length)


def test_a_larger_pool_may_hit_less_under_other_policies():
    """By session all of one goes at once, and by use the new goes first: neither is a stack."""
    work = [(0, 1), (0, 1), (1, 1), (1, 1), (2, 1), (3, 1), (2, 1), (3, 1), (2, 1), (3, 1)]
    hits = {}
    for size in (1, 2, 3):
        made = pool("lfu", size)
        hits[size] = sum(serve(made, *one) for one in work)
    assert hits[2] <= hits[3]


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(8, 20))
def test_lru_is_the_order_of_the_last_asking(work, size):
    """Against a second statement of the rule: a list in order of last use, a request's last chunk first."""
    made, plain = pool("lru", size), OrderedDict()
    for session, length in work:
        serve(made, session, length)
        names = chain(session, length)
        for name in reversed(names):
            if name in plain:
                plain.move_to_end(name)
        new = [name for name in names if name not in plain]
        for _ in range(max(0, len(new) + len(plain) - size)):
            plain.pop(next(name for name in plain if name not in names))
        for name in new:
            plain[name] = None
        for name in reversed(names) if new else ():
            plain.move_to_end(name)
        assert sorted(plain) == sorted(name for name in plain if made.has(name)) and made.used == len(plain)


def test_who_is_written_or_read_stays():
    made = pool("lru", 2)
    assert made.prepare([b"a", b"b"], Owner(0, "", 0)) == [b"a", b"b"]
    assert not made.has(b"a")
    assert made.prepare([b"c"], Owner(1, "", 0)) is None and made.counts.refused == 1
    made.written([b"a", b"b"])
    read = made.read([b"a"])
    assert made.prepare([b"c"], Owner(1, "", 0)) == [b"c"] and made.has(b"a") and not made.has(b"b")
    with pytest.raises(AssertionError, match="not whole"):
        made.read([b"c"])
    made.done_reading(read)
    with pytest.raises(AssertionError, match="more readers"):
        made.done_reading(read)


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        ("lru", b"1/0"),  # asked for longest ago
        ("lfu", b"2/0"),  # asked for least often
        ("session", b"1/0"),  # its session was
        ("priority", b"2/0"),  # its request is the least urgent
    ],
)
def test_who_goes_first(policy, gone):
    made = pool(policy, 3)
    for session, priority in ((0, 0), (1, 1), (2, 2)):
        made.written(made.prepare([b"%d/0" % session], Owner(0, str(session), priority)))
    for name in (b"1/0", b"1/0", b"0/0", b"2/0", b"0/0"):
        made.touch([name])
    made.prepare([b"3/0"], Owner(0, "3", 3))
    assert not made.has(gone) and made.counts.freed == 1


def test_a_threshold_keeps_what_is_asked_for_often():
    made = pool("lru", 10, threshold=2)
    assert serve(made, 0, 4) == 0 and made.used == 0
    assert serve(made, 0, 4) == 0 and made.used == 4
    assert serve(made, 0, 4) == 4


class Newest:
    """A policy of the user's."""

    def __init__(self):
        self._names = []

    def inserted(self, name, owner):
        self._names.append(name)

    def touched(self, names):
        pass

    def removed(self, name):
        self._names.remove(name)

    def victims(self):
        return iter(list(reversed(self._names)))


def test_the_users_own_policy_decides():
    made = pool("tests.memory.test_pool:Newest", 2)
    for name in (b"a", b"b", b"c"):
        made.written(made.prepare([name], Owner(0, "", 0)))
    assert made.has(b"a") and made.has(b"c") and not made.has(b"b")
    with pytest.raises(InputError, match="one of lru, lfu, session, priority, or module:Class"):
        make_eviction("kv_offloading.tiers.0.eviction", "mru")


class NoTouch:
    """It lacks most of what a policy has."""

    def victims(self):
        return iter(())


class Foreign(Newest):
    def victims(self):
        return iter([b"somebody else's"])


class Twice(Newest):
    def victims(self):
        return iter(self._names[:1] * 2)


class Nothing(Newest):
    def victims(self):
        return None


class Number(Newest):
    def victims(self):
        return [[3]]


def test_a_policy_of_the_users_has_all_methods():
    with pytest.raises(InputError, match=r"test_pool:NoTouch': has no method inserted\(name, owner\)"):
        make_eviction("kv_offloading.tiers.0.eviction", "tests.memory.test_pool:NoTouch")


@pytest.mark.parametrize("kind", [Foreign, Twice, Nothing, Number])
def test_an_order_that_cannot_be_is_the_policys_failure(kind):
    made = pool(f"tests.memory.test_pool:{kind.__name__}", 2)
    made.written(made.prepare([b"a", b"b"], Owner(0, "", 0)))
    with pytest.raises(BadAnswer, match=f"tests.memory.test_pool:{kind.__name__}: victims gave "):
        made.prepare([b"c", b"d"], Owner(1, "", 0))
