"""Queries whose image is that of one in flight: they share its jobs instead of having their own.

The first query of an image leads; those that come while it is in flight follow it, and get its answer. Whoever has had
enough, at its deadline or because its client has gone, leaves alone: the leader's jobs go on for the others. Only what
is the same for all of them may be shared: key, image, and whether a degraded answer will do.

A leader that is late already is not followed: slow jobs last longest, so that they would get most of the followers.
Instead the new query leads from then on, with jobs of its own, and the two are linked: a single's answer to one is an
answer to both, and a backup's is one to the earlier, whose patience has ended too.
"""

from __future__ import annotations

from collections.abc import Hashable

from collage.dispatch._events import QueryId
from collage.dispatch._records import Follower, Query


class Repeats:
    """Who leads, and who follows whom. followers: those without an outcome."""

    def __init__(self) -> None:
        self.followers: dict[QueryId, Follower] = {}
        self._leaders: dict[Hashable, Query] = {}  # the latest of each image

    def leader(self, same: Hashable) -> Query | None:
        """The latest query in flight with jobs of its own that has this in common."""
        return self._leaders.get(same)

    def lead(self, query: Query) -> None:
        """A new query with jobs of its own."""
        before = self._leaders.get(query.same)
        if before is not None:
            before.later, query.earlier = query, before
        self._leaders[query.same] = query

    def follow(self, query: QueryId, deadline: float | None, leader: Query) -> Follower:
        """A new query without jobs of its own."""
        follower = self.followers[query] = Follower(query, deadline, leader)
        leader.followers += (follower,)
        return follower

    def clients(self, query: Query) -> tuple[QueryId, ...]:
        """Who waits for an answer of its jobs: itself, unless it has its outcome, and its followers."""
        own = () if query.left else (query.id,)
        return (*own, *(follower.id for follower in query.followers)) if query.followers else own

    def alike(self, query: Query, *, degraded: bool) -> list[Query]:
        """Those without an outcome whom an answer to the query answers too, and itself; a degraded one only earlier."""
        found = [query]
        other = query.earlier
        while other is not None:
            found.append(other)
            other = other.earlier
        other = None if degraded else query.later
        while other is not None:
            found.append(other)
            other = other.later
        return found

    def leave(self, client: Query | Follower) -> Query:
        """It has its outcome, alone. Returns whose jobs it shared."""
        if isinstance(client, Query):
            client.left = True
            leader = client
        else:
            client.done = True
            leader = client.leader
            leader.followers = tuple(follower for follower in leader.followers if follower is not client)
            del self.followers[client.id]
        return leader

    def dismiss(self, query: Query) -> list[QueryId]:
        """Its followers have their outcome."""
        gone = [follower.id for follower in query.followers]
        for follower in query.followers:
            follower.done = True
            del self.followers[follower.id]
        query.followers = ()
        return gone

    def forget(self, query: Query) -> None:
        """Nobody waits for it any more."""
        if query.earlier is not None:
            query.earlier.later = query.later
        if query.later is not None:
            query.later.earlier = query.earlier
        elif query.earlier is not None:
            self._leaders[query.same] = query.earlier
        else:
            del self._leaders[query.same]
        query.earlier = query.later = None
