"""Queries that may share a backup job, until they are answered or in one.

A group has no fixed members: its queries are chosen when a worker is there to run the job. So no tile is wasted on a
query that was answered while the group waited, and none starts for nothing.
"""

from __future__ import annotations

from collage.dispatch._events import QueryId
from collage.dispatch._records import Query


class Groups:
    """One list of open queries per key, oldest first. `shared`: jobs hold several queries, so keys are kept apart.

    `apart`: so are queries that refuse degraded answers, because their backups are of another code. `open` is for
    reading: it is looked at after every event.
    """

    def __init__(self, *, shared: bool, apart: bool) -> None:
        self._shared = shared
        self._apart = apart
        self.open: dict[tuple[str, bool], dict[QueryId, Query]] = {}  # none of them empty

    def add(self, query: Query) -> None:
        """A query whose single has just started."""
        self.open.setdefault(self._key(query), {})[query.id] = query

    def put_back(self, query: Query) -> None:
        """A query whose backup was lost: back to its place by age."""
        self.add(query)
        key = self._key(query)
        self.open[key] = dict(sorted(self.open[key].items(), key=lambda item: item[1].started))

    def hurry(self, query: Query) -> None:
        """Put it before the others of its group, where it is in one."""
        group = self.open.get(self._key(query), {})
        if query.id in group:
            query.hurried = True
            self.open[self._key(query)] = {query.id: query} | group

    def remove(self, query: Query) -> None:
        """It has its outcome, or is in a job. No harm where it is in no group."""
        if not self.open:
            return
        key = self._key(query)
        group = self.open.get(key)
        if group is not None and group.pop(query.id, None) is not None and not group:
            del self.open[key]

    def take(self, group: dict[QueryId, Query], most: int) -> tuple[Query, ...]:
        """Its oldest queries, which leave it."""
        taken = [query for query, _ in zip(group.values(), range(most), strict=False)]
        for query in taken:
            self.remove(query)
        return tuple(taken)

    def __len__(self) -> int:
        return sum(map(len, self.open.values()))

    def _key(self, query: Query) -> tuple[str, bool]:
        return (query.key if self._shared else "", query.accept_degraded or not self._apart)
