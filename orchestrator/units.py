"""Units: time is integer picoseconds, sizes are bytes, energy is integer picojoules."""

PS_PER_NS = 10**3
PS_PER_US = 10**6
PS_PER_MS = 10**9
PS_PER_S = 10**12
MAX_PS = 2**63 - 1  # 106 days
PJ_PER_J = 10**12
GIB = 2**30
MOST_GIB = 1e9  # of a memory, about an exbibyte: more is a slip of the hand

MOST_BINS = 100_000  # of a series: 27 hours of seconds


def bin_ps(end_ps: int) -> int:
    """Width of the bins of a run's series, ps: a second; of a run of more than MOST_BINS seconds so many whole seconds
    that there are no more bins."""
    return PS_PER_S * max(1, -(-end_ps // (MOST_BINS * PS_PER_S)))
