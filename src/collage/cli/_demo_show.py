"""What `collage demo` shows: first answers, a straggler covered by the collage, a table of both kinds of visitor."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
from rich.console import Console
from rich.table import Table

from collage.cli._demo_visitors import Reply, Visitors, replies
from collage.exceptions import Unavailable
from collage.zoo import sample_images

_FIRST = 6  # images in the first burst
_MOST_AT_ONCE = 5
_BETWEEN_BURSTS = 0.2  # seconds, mean
_USUAL_SECONDS = 5.0  # before there is a straggler
_COVERED_SECONDS = 15.0  # to wait for a query that a backup answers
_TRAFFIC_SECONDS = 12.0  # for the table
_STOPPING_SECONDS = 10.0  # in which a gateway that was told to stop has stopped


class Show:
    """The visitors' side, in a thread of its own: the gateway has the main one, for its signals."""

    def __init__(self, console: Console, once: bool) -> None:
        self._console = console
        self._once = once
        self._over = threading.Event()  # the gateway has stopped
        self._thread: threading.Thread | None = None
        self._trouble: Exception | None = None

    def begin(self, url: str) -> None:
        """The gateway answers at `url`."""
        self._thread = threading.Thread(target=self._run, args=(url,), name="demo")
        self._thread.start()

    def end(self) -> None:
        """The gateway has stopped. Raises Unavailable where it did so because a visitor was not answered."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if isinstance(self._trouble, OSError | http.client.HTTPException):
            raise Unavailable(f"a visitor of the demo was not answered ({self._trouble})") from self._trouble
        if self._trouble is not None:
            raise self._trouble

    def _run(self, url: str) -> None:
        try:
            with Visitors(url, sample_images()) as visitors:
                self._tell(visitors, url)
        except Exception as error:  # whatever it is: without visitors the gateway must not run on
            if self._over.wait(_STOPPING_SECONDS):
                return  # Ctrl-C: the gateway went first
            self._trouble = error
        if not self._over.is_set():
            os.kill(os.getpid(), signal.SIGINT)  # the gateway drains

    def _tell(self, visitors: Visitors, url: str) -> None:
        say = self._console.print
        say(f"[bold]The first page is at [link={url}]{url}[/link][/bold] : open it and watch.\n")

        say(f"{_FIRST} visitors send an image each, over HTTP:")
        for reply in replies(visitors.send(_FIRST)):
            say(as_line(reply))

        say(f"\n{_USUAL_SECONDS:.0f} s of traffic, from which the gateway learns how long a single usually takes ...")
        usual = self._traffic(visitors, _USUAL_SECONDS)

        worker = straggle(visitors)
        say(f"\nNow worker [bold]{worker}[/bold] straggles: its jobs take many times as long. More visitors come:")
        covered = self._until_covered(visitors, worker)
        if covered is None:
            say("  [dim]every query met a quick worker this time[/dim]")
        else:
            say(as_line(covered))
            say("  [dim]Its single is still running on the straggler. The visitor has the answer already.[/dim]")

        say(
            f"\n{_TRAFFIC_SECONDS:.0f} s of traffic with the straggler; every second visitor refuses a backup's answer:"
        )
        say(summary(usual, self._traffic(visitors, _TRAFFIC_SECONDS, worker)))
        if not self._once:
            say(f"Visitors keep coming; Ctrl-C ends this. Make a worker straggle yourself: [link={url}]{url}[/link]")
            while not self._over.wait(visitors.pause(_BETWEEN_BURSTS)):
                visitors.send(visitors.burst_size(_MOST_AT_ONCE))
                visitors.get("/v2/health/live")  # says when the gateway is gone

    def _until_covered(self, visitors: Visitors, straggler: str) -> Reply | None:
        """The first reply that a backup gave; None where there was none in time."""
        end = time.monotonic() + _COVERED_SECONDS
        while time.monotonic() < end and not self._over.is_set():
            for reply in replies(visitors.send(_MOST_AT_ONCE)):
                if reply.source != "single":
                    return reply
            straggle(visitors, straggler)
        return None

    def _traffic(self, visitors: Visitors, seconds: float, straggler: str | None = None) -> list[Reply]:
        """Some seconds of bursts, with a worker that straggles all the time where one is named; all the replies."""
        sent: list[Future[Reply]] = []
        end = time.monotonic() + seconds
        straggle_again = 0.0
        while time.monotonic() < end and not self._over.wait(visitors.pause(_BETWEEN_BURSTS)):
            if straggler is not None and time.monotonic() > straggle_again:
                straggle(visitors, straggler)
                straggle_again = time.monotonic() + 2.0
            for _ in range(visitors.burst_size(_MOST_AT_ONCE)):
                sent += visitors.send(1, accept_degraded=len(sent) % 2 == 0)
        return replies(sent)


def straggle(visitors: Visitors, worker: str | None = None) -> str:
    """Make a worker (None: the first) straggle, as the button on the first page does; gives its name."""
    query = {} if worker is None else {"worker": worker}
    return str(visitors.post("/demo/straggle", **query)["worker"])


def as_line(reply: Reply) -> str:
    """One reply for the terminal."""
    name = f"{reply.sample.path.parent.name}/{reply.sample.path.name}"
    mark = "[green]right[/green]" if reply.right else "[red]wrong[/red]"
    colour = "blue" if reply.source == "single" else "dark_orange"
    return (
        f"  {name:<22} -> [bold]{reply.label:<11}[/bold] {reply.confidence:>4.0%} {mark}"
        f"  [{colour}]{reply.source:<8}[/{colour}] {reply.seconds * 1e3:>5.0f} ms"
    )


def summary(usual: Sequence[Reply], straggling: Sequence[Reply]) -> Table:
    """Answers and latency before there was a straggler, and with it: of visitors who take a backup's answer or not."""
    table = Table(caption="measured by the visitors")
    for heading in ("", "answers", "right", "p50", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    takers = [reply for reply in straggling if reply.accept_degraded]
    groups = [("no straggler", usual)]
    groups.append(
        ("straggler, a backup's answer refused", [reply for reply in straggling if not reply.accept_degraded])
    )
    groups.append(("straggler, a backup's answer taken", takers))
    sources = sorted({reply.source for reply in takers}, key=lambda source: source != "single")
    groups += [(f"    from the {source}", [reply for reply in takers if reply.source == source]) for source in sources]
    for name, group in groups:
        if group:
            p50, p99 = np.quantile([reply.seconds for reply in group], (0.5, 0.99), method="inverted_cdf") * 1e3
            right = sum(reply.right for reply in group) / len(group)
            table.add_row(name, str(len(group)), f"{right:.0%}", f"{p50:.0f} ms", f"{p99:.0f} ms")
    return table
