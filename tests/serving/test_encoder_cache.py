"""vLLM's encoder budget and cache by example; `make truth` holds them to vLLM's own."""

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.spec import EngineSpec
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.serving.vllm.options import VllmOptions
from metronome.orchestrator.serving.vllm.request_state import VllmRequestState
from metronome.orchestrator.serving.vllm.scheduler import Scheduler
from metronome.orchestrator.serving.vllm.start import refuse_request
from metronome.orchestrator.workload.request import Image, Request


def scheduler(budget=100, encoder=10, **flags):
    config = SchedulerConfig(max_num_batched_tokens=budget, block_size=4, **flags)
    return Scheduler(config, 100, encoder_tokens=encoder)


def add(to, number, inputs, *images, outputs=3):
    state = VllmRequestState(Request(number, 0, inputs, outputs, images=tuple(Image(*one) for one in images)))
    to.waiting.append(state)
    return state


def steps(of, count):
    """(new prompt tokens by request, images encoded) of so many steps."""
    found = []
    for now in range(count):
        step = of.schedule(now)
        if step is None:
            break
        found.append(({c.state.request.id: c.tokens for c in step.lane.chunks}, step.batch.images))
        of.settle(step)
        of.finish(step)
    return found


def test_a_prompt_is_computed_up_to_the_image_that_does_not_fit_the_step():
    one = scheduler(encoder=10)
    add(one, 0, 30, (2, 8, 0), (12, 6, 1))
    assert steps(one, 2) == [({0: 12}, (8,)), ({0: 18}, (6,))]


def test_an_image_is_encoded_whole_with_the_first_of_its_tokens():
    one = scheduler(budget=5, encoder=10)
    add(one, 0, 14, (3, 8, 0))
    assert steps(one, 3) == [({0: 5}, (8,)), ({0: 5}, ()), ({0: 4}, ())]


def test_nobody_is_admitted_behind_one_whose_image_has_to_wait():
    one = scheduler(encoder=10)
    add(one, 0, 9, (0, 9, 0))
    add(one, 1, 9, (0, 9, 1))
    add(one, 2, 5)
    assert steps(one, 2) == [({0: 9}, (9,)), ({1: 9, 2: 5}, (9,))]


def test_equal_pictures_are_encoded_once_while_there_is_room():
    one = scheduler(encoder=10)
    for number, picture in enumerate((7, 7, 8, 7)):
        add(one, number, 9, (0, 6, picture))
    assert steps(one, 3) == [({0: 9, 1: 9}, (6,)), ({2: 9}, (6,)), ({3: 9}, (6,))]


def test_who_is_dropped_needs_its_images_no_more():
    one = scheduler(budget=4, encoder=10)
    first = add(one, 0, 12, (0, 10, 0))
    add(one, 1, 12, (0, 10, 1))
    assert steps(one, 1) == [({0: 4}, (10,))]
    one.abort(first)
    assert steps(one, 1) == [({1: 4}, (10,))]


@pytest.mark.parametrize(
    ("encoder", "message"), [(0, "has no encoder of images"), (50, "takes images of at most 50 tokens")]
)
def test_an_image_that_can_never_be_encoded_is_refused(encoder, message):
    spec = EngineSpec("i", VllmOptions(), 100, 1000, encoder_tokens=encoder)
    with pytest.raises(InputError, match=message):
        refuse_request(Request(0, 0, 90, 3, images=(Image(0, 60, 0),)), 3, 6, spec)
