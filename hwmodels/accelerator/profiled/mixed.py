"""From a batch's attention to the table's coordinates: several prompts, uneven decodes.

The table holds one prompt beside n equal decodes. A batch is one variable-length kernel over many
sequences, which is neither one prompt of the summed length (that would let every token attend to
every earlier prompt) nor a sum of separate kernels (that would pay the launch and the half-empty
device once a prompt). What the kernel does is fixed by two numbers: how many query tokens it has,
which sets its parallelism, and how many (query, key) pairs, which sets its work.
:class:`Prompts` keeps both: the stand-in prompt has the batch's query tokens, and as many cached
tokens as give it the batch's pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...interface import Provenance, worse
from .tables import AttentionTable, SkewTable, pairs

#: (prompt tokens, its cached tokens, decodes, their context) -> (ps, provenance)
AttentionTime = Callable[[float, float, int, float], tuple[float, Provenance]]


@dataclass(frozen=True, slots=True)
class Prompts:
    """All prompts of a batch as one.

    ``tokens`` new tokens in all; ``cached`` such that tokens x (cached + tokens/2) is the number of
    (query, key) pairs. Several fresh prompts give a negative ``cached``: each token then sees less
    than it would in one long prompt.
    """

    tokens: int
    cached: float
    longest: int

    @classmethod
    def of(cls, prompts: tuple[int, ...]) -> Prompts:
        """From (new, cached) of each prompt, flat."""
        if not prompts:
            return NO_PROMPTS
        if len(prompts) == 2:
            return cls(prompts[0], prompts[1], prompts[0])
        new, cached = prompts[::2], prompts[1::2]
        tokens = sum(new)
        work = sum(pairs(n, c) for n, c in zip(new, cached, strict=True))
        return cls(tokens, work / tokens - tokens / 2, max(new))


NO_PROMPTS = Prompts(0, 0, 0)


def attention_time(
    table: AttentionTime,
    skew: SkewTable | None,
    prompts: Prompts,
    decodes: int,
    context_sum: int,
    context_max: int,
    context_min: int,
) -> tuple[float, Provenance]:
    """Picoseconds of one layer's attention over the whole batch, and where the figure comes from."""
    mean = context_sum // decodes if decodes else 0
    at_mean, how = _one_prompt(table, prompts, decodes, mean)
    if skew is None or decodes < 2 or context_max == mean:
        return at_mean, how
    alpha = skew.alpha(prompts.tokens, max(0, round(prompts.cached)), decodes, mean, context_min, context_max)
    if not alpha:
        return at_mean, how
    at_max, how_max = _one_prompt(table, prompts, decodes, context_max)
    if at_max <= at_mean:
        return at_mean, how
    # A kernel over uneven contexts can cost neither less than nothing nor more than all at the maximum.
    alpha = min(1.0, max(-1.0, alpha))
    return max(at_mean + alpha * (at_max - at_mean), 1.0), worse(how, how_max)


def _one_prompt(table: AttentionTime, prompts: Prompts, decodes: int, context: float) -> tuple[float, Provenance]:
    if not prompts.tokens and isinstance(table, AttentionTable):
        return table.alone(decodes, context)
    if prompts.cached >= 0:
        return table(prompts.tokens, prompts.cached, decodes, context)
    # Fewer pairs than one fresh prompt of all tokens: continue the line through (no cache) and
    # (as much cache as tokens) to the left. It cannot pass the longest prompt alone.
    fresh, how = table(prompts.tokens, 0, decodes, context)
    longer, how_longer = table(prompts.tokens, prompts.tokens, decodes, context)
    slope = (longer - fresh) / prompts.tokens
    floor, _ = table(prompts.longest, 0, decodes, context)
    how = worse(worse(how, how_longer), Provenance.INTERPOLATED)
    return max(fresh + slope * prompts.cached, floor), how
