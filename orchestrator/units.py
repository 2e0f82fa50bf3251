"""Units: time is integer picoseconds, sizes are bytes, energy is integer picojoules."""

PS_PER_NS = 10**3
PS_PER_US = 10**6
PS_PER_MS = 10**9
PS_PER_S = 10**12
MAX_PS = 2**63 - 1  # 106 days
PJ_PER_J = 10**12
GIB = 2**30
