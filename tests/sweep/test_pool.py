"""A worker process ends without a word, wherever the signal finds it."""

from __future__ import annotations

import time
from multiprocessing.util import Finalize

from metronome.orchestrator.sweep.pool import Pool, Worker

LAST_S = 0.5  # what a worker does after its last task


def end_slowly():
    Finalize(None, time.sleep, (LAST_S,), exitpriority=1)
    return "done"


def test_a_worker_that_is_ending_is_told_again_to_end(capfd):
    worker = Worker(end_slowly)
    worker.give(())
    assert worker.answers.recv() == "done"
    worker.answers.close()  # it ends, and takes a while
    time.sleep(LAST_S / 2)
    worker.stop()
    worker.gone()
    assert capfd.readouterr().err == ""


def test_one_that_has_nothing_to_do(capfd):
    answers = []
    with Pool(1, end_slowly, "lost") as pool:
        pool.map([(0, ())], lambda number, answer: answers.append(answer))
    assert answers == ["done"] and capfd.readouterr().err == ""
