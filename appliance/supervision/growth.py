"""Does a process hold more and more memory? Pure.

What counts is the floor: the least it held within each slice of the window. A process that breathes
goes back to its floor; one that leaks lifts it, slice by slice.
"""

from __future__ import annotations

SLICES = 6


class Growth:
    """Judges one process, from the moment on at which it had all that it needs.

    window_seconds   over which it has to grow without a rest
    grown_bytes      by how much; 0 for never
    """

    def __init__(self, window_seconds: float, grown_bytes: int) -> None:
        self._slice_seconds = window_seconds / SLICES
        self._grown_bytes = grown_bytes
        self._floors: list[int] = []
        self._floor: int | None = None
        self._ends: float | None = None

    def grown(self, now: float, memory_bytes: int) -> bool:
        """Whether the floor has risen all through the window, and by enough. `now` is monotonic."""
        if self._ends is None:
            self._ends = now + self._slice_seconds
        if now >= self._ends and self._floor is not None:
            self._floors = [*self._floors, self._floor][-SLICES:]
            self._floor, self._ends = None, now + self._slice_seconds
        self._floor = memory_bytes if self._floor is None else min(self._floor, memory_bytes)
        return self._grown_bytes > 0 and len(self._floors) == SLICES and self._rose()

    def _rose(self) -> bool:
        steps = zip(self._floors, self._floors[1:], strict=False)
        rose = self._floors[-1] - self._floors[0]
        return all(later > earlier for earlier, later in steps) and rose >= self._grown_bytes
