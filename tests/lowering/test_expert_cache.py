"""Experts missing on a device: against LRU caches that are played, token by token."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.lowering.expert_cache import expert_cache
from metronome.orchestrator.lowering.routing import routing


def played(shares, kept, tokens, steps=4000):
    """Misses a step of an LRU cache; each token picks each expert or not, independently, as the routing model says."""
    draw, cache, missed = random.Random(7), [], 0
    for step in range(-500, steps):
        picked = [e for e, share in enumerate(shares) if any(draw.random() < share for _ in range(tokens))]
        draw.shuffle(picked)
        if step >= 0:
            missed += sum(expert not in cache for expert in picked)
        cache = [*(expert for expert in cache if expert not in picked), *picked][-kept:]
    return missed / steps


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("kept", [8, 24])
@pytest.mark.parametrize("model", ["uniform", "zipf"])
def test_misses_are_those_of_an_lru_cache(model, kept, tokens):
    chosen = routing(model, 32, 4)
    cache = expert_cache(chosen, 1, kept)
    assert cache.missed(tokens) == pytest.approx(played(chosen.shares, kept, tokens), rel=0.04)


@given(st.integers(1, 31), st.integers(1, 500), st.sampled_from(["uniform", "zipf", "balanced"]), st.integers(1, 4))
def test_a_larger_cache_misses_less_and_nobody_misses_more_than_is_picked(kept, tokens, model, top_k):
    chosen = routing(model, 32, top_k)
    cache, larger = expert_cache(chosen, 1, kept), expert_cache(chosen, 1, min(32, kept + 1))
    assert -1e-9 <= larger.missed(tokens) <= cache.missed(tokens) + 1e-9
    assert cache.missed(tokens) <= cache.picked(tokens) + 1e-9
    assert cache.missed(tokens) <= 32 - kept + 1e-9


def test_alike_experts_are_there_as_often_as_there_is_room():
    cache = expert_cache(routing("uniform", 128, 8), 1, 32)
    assert cache.missed(10) == pytest.approx(0.75 * cache.picked(10))


def test_of_picks_in_turn_a_cache_that_is_too_small_has_none():
    assert expert_cache(routing("balanced", 16, 2), 1, 8).missed(3) == 6


def test_experts_that_are_never_picked_need_no_room():
    chosen = routing("histogram", 8, 2, histogram=[5, 4, 3, 0, 0, 0, 0, 0])
    assert expert_cache(chosen, 1, 3).missed(10) == 0
    assert expert_cache(chosen, 1, 2).missed(10) > 0
