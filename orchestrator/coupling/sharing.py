"""Which operations may be asked about alone, and which must share the clock.

An answer for an operation alone is exact if nobody else can be using what it uses. Who uses what is
known before time 0: every operation of a plan has a user, and a component may say which of its parts
(links, say) an operation touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metronome.hwmodels.interface import Description, TimePolicy

WHOLE: frozenset[int] = frozenset({0})  # of a component that tells no parts apart


def sequential(a: str, b: str) -> bool:
    """Whether two users never act at once: they are one, or one contains the other."""
    if a.endswith("*") or b.endswith("*"):
        return False
    return a == b or a.startswith(b + "/") or b.startswith(a + "/")


def stepped(
    description: Description, uses: Sequence[tuple[int, str]], resources: Mapping[int, frozenset[int]] | None
) -> set[int]:
    """The templates of one component that have to share the clock.

    ``uses``: (template, user). A component without a clock is always asked; one that remembers is
    always stepped.
    """
    if description.time_policy in (TimePolicy.ORACLE, TimePolicy.BATCH):
        return set()
    if not description.memoryless:
        return {template for template, _ in uses}
    parts = {template: (resources or {}).get(template, WHOLE) for template, _ in uses}
    users: dict[int, set[str]] = {}
    for template, user in uses:
        for part in parts[template]:
            users.setdefault(part, set()).add(user)
    crowded = {part for part, who in users.items() if not _all_sequential(who)}
    found = {template for template, _ in uses if parts[template] & crowded}
    return found


def _all_sequential(users: set[str]) -> bool:
    ordered = sorted(users)
    return all(sequential(a, b) for i, a in enumerate(ordered) for b in ordered[i:])
