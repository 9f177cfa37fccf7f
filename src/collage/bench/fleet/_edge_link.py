"""Two network namespaces with a rate-limited link between them: an edge, and where the servers are. Linux, as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from collage.exceptions import SettingsError

EDGE, CLOUD = "10.203.0.2", "10.203.0.1"
_DEVICE = "thin0"
_BURST = "16kb"
_QUEUE = "200ms"  # what the link's own queue holds, at its rate


def why_no_link() -> str | None:
    """Why no such link can be made on this machine; None: it can."""
    if any(shutil.which(tool) is None for tool in ("ip", "tc")):
        return "ip and tc (iproute2) are needed"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        with slow_link(1.0, 1.0):
            return None
    except SettingsError as error:
        return str(error)


@dataclass(frozen=True)
class Link:
    """The two ends' namespaces."""

    edge: str
    cloud: str

    def inside(self, end: str, *command: str) -> list[str]:
        """The command, to be run at that end."""
        return ["ip", "netns", "exec", end, *command]

    def set_rate(self, end: str, megabits: float) -> None:
        """What that end may send, Mbit/s."""
        words = ["root", "tbf", "rate", f"{round(megabits * 1000)}kbit", "burst", _BURST, "latency", _QUEUE]
        _run(*self.inside(end, "tc", "qdisc", "replace", "dev", _DEVICE, *words))

    def sent(self, end: str) -> int:
        """Bytes that this end has sent, Ethernet's heads included."""
        return int(_run(*self.inside(end, "cat", f"/sys/class/net/{_DEVICE}/statistics/tx_bytes")))


@contextmanager
def slow_link(up: float, down: float) -> Iterator[Link]:
    """Both ends, up and down Mbit/s, for as long as this is open. Raises SettingsError where it cannot be made."""
    link = Link(f"collage-edge-{os.getpid()}", f"collage-cloud-{os.getpid()}")
    try:
        for end in (link.edge, link.cloud):
            _run("ip", "netns", "add", end)
        ends = ["type", "veth", "peer", "name", _DEVICE, "netns", link.cloud]
        _run("ip", "link", "add", _DEVICE, "netns", link.edge, *ends)
        for end, address, rate in ((link.edge, EDGE, up), (link.cloud, CLOUD, down)):
            _run(*link.inside(end, "ip", "addr", "add", f"{address}/24", "dev", _DEVICE))
            for device in ("lo", _DEVICE):
                _run(*link.inside(end, "ip", "link", "set", device, "up"))
            link.set_rate(end, rate)
        yield link
    finally:
        for end in (link.edge, link.cloud):
            with suppress(SettingsError):
                _run("ip", "netns", "del", end)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SettingsError(f"{' '.join(command)}: {' '.join(done.stderr.split())[:200]}")
    return done.stdout
