from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.kernel.queue import EventQueue, Priority

keys = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 2), st.sampled_from(Priority), st.integers(0, 3)), max_size=60
)


@given(keys)
def test_pops_in_total_order_and_loses_nothing(items):
    queue = EventQueue()
    for time_ps, microstep, priority, rank in items:
        queue.push(time_ps, microstep, priority, rank, "test", 0, 0, lambda: None)
    popped = [queue.pop()[:5] for _ in range(len(queue))]
    assert popped == sorted(popped)
    assert [event[:4] for event in popped] == sorted(items)


@given(keys)
def test_ties_go_by_insertion(items):
    queue = EventQueue()
    for item in items:
        queue.push(*item, "test", 0, 0, lambda: None)
    orders: dict[tuple, int] = {}
    while len(queue):
        event = queue.pop()
        assert orders.get(event[:4], -1) < event.order
        orders[event[:4]] = event.order
