import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.errors import StalledError, TimeError
from metronome.orchestrator.kernel.loop import Kernel
from metronome.orchestrator.kernel.queue import Priority
from metronome.orchestrator.units import MAX_PS


@given(
    st.recursive(
        st.tuples(st.integers(0, 5), st.sampled_from(Priority), st.integers(0, 3)),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=40,
    )
)
def test_time_never_runs_back_and_every_event_runs_once(tree):
    kernel, ran, planned = Kernel(), [], [0]

    def plant(node):
        """A list is planted by the event of its first leaf: events that make events."""
        if isinstance(node, tuple):
            delay, priority, rank = node
            planned[0] += 1
            kernel.at(
                kernel.now_ps + delay, priority, rank, "test", 0, lambda: ran.append((kernel.now_ps, kernel.microstep))
            )
        elif node:
            planned[0] += 1

            def act():
                ran.append((kernel.now_ps, kernel.microstep))
                for inner in node:
                    plant(inner)

            kernel.at(kernel.now_ps + len(node), Priority.DECISION, 0, "test", 0, act)

    plant(tree)
    kernel.run()
    assert ran == sorted(ran)
    assert len(ran) == planned[0] == kernel.events


def test_order_within_an_instant_is_by_priority_then_rank():
    kernel, ran = Kernel(), []
    for priority, rank in [
        (Priority.DECISION, 0),
        (Priority.ARRIVAL, 1),
        (Priority.COMPLETION, 2),
        (Priority.ARRIVAL, 0),
    ]:
        kernel.at(5, priority, rank, "test", 0, lambda p=priority, r=rank: ran.append((p, r)))
    kernel.run()
    assert ran == sorted(ran)


def test_an_earlier_kind_of_event_made_at_the_same_instant_waits_for_the_next_microstep():
    kernel, seen = Kernel(), []
    kernel.at(
        1,
        Priority.DECISION,
        0,
        "test",
        0,
        lambda: kernel.at(1, Priority.ARRIVAL, 0, "test", 0, lambda: seen.append(kernel.microstep)),
    )
    kernel.run()
    assert seen == [1]


def test_the_past_is_refused():
    kernel = Kernel()
    kernel.at(10, Priority.ARRIVAL, 0, "test", 0, lambda: kernel.at(9, Priority.ARRIVAL, 0, "test", 0, lambda: None))
    with pytest.raises(TimeError, match="9 ps, but it is 10 ps"):
        kernel.run()


def test_beyond_int64_is_refused():
    with pytest.raises(TimeError, match="2\\^63"):
        Kernel().at(MAX_PS + 1, Priority.ARRIVAL, 0, "test", 0, lambda: None)


def test_a_loop_in_zero_time_is_found():
    kernel = Kernel()

    def again():
        kernel.at(0, Priority.COMPLETION, 0, "test", 0, again)

    def twist():
        kernel.at(0, Priority.COMPLETION, 0, "test", 0, lambda: kernel.at(0, Priority.DECISION, 0, "test", 0, twist))

    kernel.at(0, Priority.DECISION, 0, "test", 0, twist)
    with pytest.raises(TimeError, match="zero time"):
        kernel.run()


class Silent:
    """A stepped component that owes an answer and promises nothing."""

    bound_ps = None

    def step(self, grant_ps):
        raise AssertionError("idle components are not stepped")

    def waiting_for(self):
        return "component x has not completed operation 7"


def test_a_stall_names_who_waits_for_what():
    kernel = Kernel()
    kernel.attach(Silent())
    with pytest.raises(StalledError, match="x has not completed operation 7"):
        kernel.run()


class Promises:
    """Acts at given times; records the grants it gets."""

    def __init__(self, kernel, times):
        self.kernel, self.times, self.grants = kernel, sorted(times), []

    @property
    def bound_ps(self):
        return self.times[0] if self.times else None

    def step(self, grant_ps):
        self.grants.append((self.kernel.now_ps, grant_ps))
        while self.times and self.times[0] <= grant_ps:
            time = self.times.pop(0)
            self.kernel.at(time, Priority.COMPLETION, 9, "test", 0, lambda: None)

    def waiting_for(self):
        return ""


@given(st.lists(st.integers(1, 50), max_size=8), st.lists(st.lists(st.integers(1, 50), max_size=6), max_size=3))
def test_no_component_is_granted_beyond_what_another_may_still_do(events, components):
    kernel = Kernel()
    parts = [Promises(kernel, times) for times in components]
    for part in parts:
        kernel.attach(part)
    for time in events:
        kernel.at(time, Priority.ARRIVAL, 0, "test", 0, lambda: None)
    kernel.run()  # Kernel.at refuses the past: an over-granted component would have raised
    assert not any(part.times for part in parts)
    assert all(now <= grant for part in parts for now, grant in part.grants)


def test_what_components_do_for_the_background_keeps_no_run_going():
    kernel = Kernel()
    kernel.in_background(10, Priority.ARRIVAL, 0, "failure", 0, lambda: None)

    class Busy:
        bound_ps = 20

        def waiting_for(self):
            return "operation 0"

    kernel.attach(Busy())
    assert kernel.next() is None
