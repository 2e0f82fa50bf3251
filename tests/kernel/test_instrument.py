"""Hooks and instruments: any number at once, copies, and those that raise."""

from __future__ import annotations

from copy import deepcopy

from metronome.orchestrator.kernel.instrument import Hook, Hooks, Instruments


class Room(Hooks):
    began: Hook[[int]]
    ended: Hook[[int, str]]


class Log:
    rewinds = True

    def __init__(self):
        self.rows = []

    def began(self, number):
        self.rows.append(number)


class Failing:
    def ended(self, number, name):
        raise ValueError("no room left")


def test_every_instrument_hears_the_hooks_it_has_methods_for():
    instruments = Instruments()
    early, late = Log(), Log()
    instruments.add(early)
    room = Room(instruments)
    assert not room.ended.listeners
    room.began(1)
    instruments.add(late)
    room.began(2)
    room.ended(2, "x")
    instruments.remove(early)
    room.began(3)
    assert (early.rows, late.rows) == ([1, 2], [2, 3])


def test_one_that_raises_is_dropped_and_named_and_the_others_hear_on():
    said = []
    instruments = Instruments(said.append)
    room, log = Room(instruments), Log()
    instruments.add(Failing())
    instruments.add(log)
    room.ended(1, "x")
    room.ended(2, "y")
    room.began(2)
    assert said == ["instrument Failing is dropped: ValueError in ended: no room left"]
    assert log.rows == [2] and not room.ended.listeners


def test_a_copy_takes_along_what_rewinds_and_nobody_else():
    instruments = Instruments()
    room, log = Room(instruments), Log()
    instruments.add(log)
    instruments.add(Failing())
    room.began(1)
    copied, log_there = deepcopy((room, log))
    copied.began(2)
    assert (log.rows, log_there.rows) == ([1], [1, 2])
    assert not copied.ended.listeners and room.ended.listeners
