"""How long to wait before connecting again: twice as long each time, and never as long as everyone
else."""

from __future__ import annotations

import random

#: The server's own delay is lengthened by up to this part of it, so that its clients do not come
#: back all at once.
JITTER = 0.25


class Delays:
    """The waits between attempts, in seconds."""

    def __init__(self, first: float, longest: float, chance: random.Random) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._attempts = 0

    def next(self, retry_after: float | None) -> float:
        """Before the next attempt."""
        # Beyond some twenty doublings it is the longest delay anyway.
        doubled = self._first * 2.0 ** min(self._attempts, 20)
        self._attempts += 1
        own = min(doubled, self._longest) * (0.5 + 0.5 * self._chance.random())
        return max(own, self.jittered(retry_after or 0.0))

    def jittered(self, seconds: float) -> float:
        """A wait that the server asked for: never sooner."""
        return seconds * (1 + JITTER * self._chance.random())

    def reset(self) -> None:
        """The connection proved to be good."""
        self._attempts = 0
