"""How a step is run: what is asked, once; how long it takes; who waits; who is told."""

from __future__ import annotations

import inspect

import pytest
from metronome.orchestrator.errors import ComponentFailure
from metronome.orchestrator.kernel.queue import Priority
from metronome.orchestrator.lowering.quantity import one

from .plans import SEQUENCES, ZERO, Plan, World, decodes, each, section, work

READ, QKV, MLP = work(1, "dram", SEQUENCES, "read"), work(2), work(3)
REDUCE = work(5, "net", kind="all_reduce")


def run(world, plan, *batches, **how):
    """Runs one step; (its length, its energy)."""
    ended = []
    runner = world.executor(plan, **how)
    world.kernel.at(0, Priority.DECISION, 9, "step", 0, lambda: runner.run(1, batches, ended.append))
    return world.go(), *ended


def test_durations_and_energies_add_up():
    plan = Plan((section(each(READ)), section(each(work(2, copies=4)), each(MLP), repeat=10)))
    world = World(plan)
    # 1 x 7 sequences; ten layers of (2 + 3) x 7 tokens; the gemm 2 is done by 4 devices at once.
    assert run(world, plan, decodes(7)) == (7 + 10 * 35, 7 + 10 * (4 * 14 + 21))
    assert world.log["gpu"] == [[(2, (7,)), (3, (7,))]]


def test_equal_numbers_are_asked_once_and_others_again():
    plan = Plan((section(each(QKV)),))
    world = World(plan)
    runner, ends = world.executor(plan), []
    for time, n in enumerate((7, 7, 8, 7)):
        step = lambda n=n: runner.run(1, (decodes(n),), lambda pj: ends.append(pj))  # noqa: E731
        world.kernel.at(1000 * time, Priority.DECISION, 9, "step", 0, step)
    world.go()
    assert ends == [14, 14, 16, 14]
    assert world.log["gpu"] == [[(2, (7,))], [(2, (8,))]]
    usage = world.ports.usage("gpu")
    assert (usage.calls, usage.cached) == (4, 2)


def test_what_has_only_zeros_is_neither_asked_nor_told():
    plan = Plan((section(each(work(2, operands=ZERO)), each(MLP)),))
    world = World(plan)
    assert run(world, plan, decodes(7)) == (21, 21)
    assert world.log["gpu"] == [[(3, (7,))]]
    assert world.ports.usage("gpu").calls == 1


def test_a_step_of_nothing_ends_at_once():
    plan = Plan((section(each(work(2, operands=ZERO))),))
    assert run(World(plan), plan, decodes(7)) == (0, 0)


def test_the_slowest_member_sets_the_pace():
    plan = Plan((section(each(QKV, work(2, user="chat/s0/dp1"))),), 2)
    assert run(World(plan), plan, decodes(3), decodes(9)) == (18, 6 + 18)


def test_a_joint_operation_has_the_tokens_of_all():
    plan = Plan((section(each(work(2, user="chat/s0"), joint=True)),), 2)
    assert run(World(plan), plan, decodes(3), decodes(9)) == (24, 24)


@pytest.mark.parametrize("fold", [True, False])
def test_shared_operations_take_their_time_between_stretches(fold):
    plan = Plan((section(each(QKV), each(REDUCE), repeat=3),))
    world = World(plan, shared=("net",))
    assert run(world, plan, decodes(4), fold=fold) == (3 * (8 + 20), 3 * (8 + 20))
    assert [message for message in world.log["net"] if message] == [[(5, (4,))]] * 3


def test_shared_operations_of_members_are_waited_for():
    plan = Plan((section(each(REDUCE, work(5, "net", kind="all_reduce", user="chat/s0/dp1")), each(QKV, QKV)),), 2)
    # 5 x 2 and 5 x 6 at once, then the slower of the two gemms.
    assert run(World(plan, shared=("net",)), plan, decodes(2), decodes(6)) == (30 + 12, 40 + 16)


def test_chained_collectives_carry_repetitions_gaps_and_sizes():
    chain = work(7, "net", kind="train")
    plan = Plan((section(each(QKV), each(REDUCE), repeat=3, chain=chain),))
    world = World(plan, shared=("net",))
    took, _ = run(world, plan, decodes(4))
    assert world.log["net"][0] == [(7, (3, 8, 4))]  # 3 times: 8 ps of gemm, 4 tokens
    assert took == 3 * (8 + 2 * 4)
    assert world.ports.usage("gpu").calls == 3


def test_a_stage_does_one_step_at_a_time_and_in_order():
    plan = Plan((section(each(QKV)), section(each(MLP), stage="stage1")), 1, 2)
    world = World(plan)
    runner, ends = world.executor(plan), {}

    def start(number, n):
        runner.run(number, (decodes(n),), lambda pj: ends.__setitem__(number, world.kernel.now_ps))

    for number, n in ((1, 10), (2, 10)):
        world.kernel.at(number - 1, Priority.DECISION, 9, "step", number, lambda a=number, b=n: start(a, b))
    world.go()
    # 20 ps of stage 0, 30 of stage 1; the second step has stage 0 from 20 and stage 1 from 50.
    assert ends == {1: 50, 2: 80}


def test_layers_are_told_as_they_are_through():
    plan = Plan((section(each(QKV), repeat=3, layers=1),))
    world, seen = World(plan), []
    runner = world.executor(plan)
    layer = lambda n: seen.append((n, world.kernel.now_ps))  # noqa: E731
    world.kernel.at(
        0, Priority.DECISION, 9, "step", 0, lambda: runner.run(1, (decodes(5),), lambda pj: seen.append(pj), layer)
    )
    world.go()
    assert seen == [(1, 10), (2, 20), (3, 30), 30]


def test_an_instrument_is_told_of_every_portion():
    class Seen(list):
        def operations(self, instance, step, member, component, works, start_ps, took_ps):
            self.append((instance, step, member, component, [w.template.id for w in works], start_ps, took_ps))

    plan = Plan((section(each(READ), each(QKV), each(MLP), each(REDUCE)),))
    world, seen = World(plan, shared=("net",)), Seen()
    world.instruments.add(seen)
    assert run(world, plan, decodes(2)) == (12 + 10, 22)
    assert seen == [
        ("chat", 1, 0, "dram", [1], 0, 2),
        ("chat", 1, 0, "gpu", [2, 3], 2, 10),
        ("chat", 1, 0, "net", [5], 12, 10),
    ]


def test_a_component_elsewhere_is_sent_its_questions_before_others_are_asked():
    plan = Plan((section(each(READ), each(QKV)),))
    world = World(plan, elsewhere=("gpu",))
    order = []
    for name in ("gpu", "dram"):
        world.links[name].component.log = type("L", (list,), {"append": lambda self, x, n=name: order.append((n, x))})()
    run(world, plan, decodes(3))
    assert order == [("gpu", "sent"), ("dram", [(1, (3,))]), ("gpu", [(2, (3,))])]


def test_only_a_component_elsewhere_is_asked_ahead_and_that_changes_no_count():
    plan = Plan((section(each(READ), each(work(2, operands=one("context_sum")))),))
    counts = []
    for elsewhere in ((), ("gpu",)):
        world = World(plan, elsewhere=elsewhere)
        took = run(world, plan, decodes(3, context=10), steady=lambda n: 2)
        counts.append((took, world.ports.usage("gpu").calls, world.ports.usage("gpu").cached))
        asked = [values for message in world.log["gpu"] if message != "sent" for _, values in message]
        assert asked == ([(30,), (33,), (36,)] if elsewhere else [(30,)])
        assert world.log["dram"] == [[(1, (3,))]]
    assert counts[0] == counts[1]


def test_a_failure_names_the_component():
    plan = Plan((section(each(work(2, layer="broken"))),))
    with pytest.raises(ComponentFailure, match="gpu.*is broken"):
        run(World(plan), plan, decodes(1))


def test_a_question_in_process_is_a_short_way_down():
    """Frames between `Executor.run` and the component: _advance, _stretch, _costs, _ask, AskedPort.ask, LocalLink."""
    plan = Plan((section(each(QKV)),))
    world, depths = World(plan), []
    runner = world.executor(plan)

    def step():
        depths.append(len(inspect.stack(0)))
        runner.run(1, (decodes(1),), lambda pj: None)

    world.kernel.at(0, Priority.DECISION, 9, "step", 0, step)
    world.go()
    assert world.links["gpu"].component.depth - depths[0] == 8  # run and advance at the ends
