"""The loop that lets the workers follow the load: looks, asks the autoscaler, tells the roster."""

from __future__ import annotations

import asyncio
import logging

from collage.dispatch import Autoscaler, Load
from collage.exceptions import CollageError
from collage.serving._driver import Driver
from collage.serving._roster import Roster

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


async def follow_load(autoscaler: Autoscaler, roster: Roster, driver: Driver) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for seconds in roster.come_up():
            autoscaler.started(seconds)
        there = len(roster.there)
        stats = driver.dispatcher.stats
        load = Load(stats.submitted, stats.singles_ended, stats.single_seconds, driver.view().waiting)
        wanted = autoscaler.look(load, there, driver.now)
        if wanted == there:
            continue
        _log.info("%d workers for a load of %.2f: there are %d", wanted, autoscaler.demand or 0.0, there)
        try:
            roster.scale_to(wanted)
        except CollageError as error:  # none can be started or spared now: looked at again in a moment
            _log.warning("the number of workers cannot follow the load: %s", error)
