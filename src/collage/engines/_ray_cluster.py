"""The way to a Ray cluster: an existing one by its address, or one of our own on this machine."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import Any

from collage.exceptions import SettingsError

_STORE_BYTES = 256 * 2**20  # of a cluster of our own: models and inputs pass through it
_MOST_WORKERS = 256
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class RayOptions:
    """Where workers are placed, and what each takes of its node.

    address: HOST:PORT of an existing cluster, of which this machine is a node; None: one of our own, on this machine,
    that ends with the engine. cpus, gpus: of one worker, fractions allowed; Ray counts them and does not hold a worker
    to them. start_seconds: the time that a worker has to be placed and ready before that is said.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    start_seconds: float = 60.0


class RayCluster:
    """A connection to a cluster. All calls block; make them from one thread that lives as long as the connection.

    (The kernel ends the processes of a cluster of our own with the thread that started them.)
    """

    def __init__(self, options: RayOptions) -> None:
        """Raises SettingsError where Ray is not installed, or the address is none."""
        if options.address is not None:
            _split(options.address)
        self.ray = import_ray()
        self._options = options
        self._ours = False

    def connect(self) -> None:
        """Join the cluster, unless this process is in one already. Raises SettingsError, one line."""
        if self.ray.is_initialized():
            return
        # A cluster of our own does not call home; what an existing one does, its operator has decided.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        logging.getLogger("ray").setLevel(logging.ERROR)  # it warns that it has left our signals alone
        try:
            if self._options.address is None:
                self.ray.init(
                    address="local",
                    num_cpus=math.ceil(max(1.0, self._options.cpus) * _MOST_WORKERS),  # this machine's load is ours
                    include_dashboard=False,
                    object_store_memory=_STORE_BYTES,
                    _system_config={"prestart_worker_first_driver": False},
                    **quiet,
                )
            else:
                _answers(self._options.address)
                self.ray.init(address=self._options.address, **quiet)
        except SettingsError:
            raise
        except Exception as error:  # ValueError, ConnectionError, RuntimeError, and Ray's own
            raise SettingsError(f"ray_address: no Ray cluster could be joined: {one_line(error)}") from None
        self._ours = True

    def disconnect(self) -> None:
        """Leave the cluster, and end it where it is our own. Does nothing where `connect` did not."""
        if self._ours:
            self._ours = False
            self.ray.shutdown()

    def room(self) -> str:
        """What a worker takes, and what there is, for people."""
        total, free = self.ray.cluster_resources(), self.ray.available_resources()
        asked = [("CPU", self._options.cpus), ("GPU", self._options.gpus)]
        wants = " and ".join(f"{amount:g} {name}" for name, amount in asked if amount) or "nothing"
        has = ", ".join(f"{free.get(name, 0):g} of {total.get(name, 0):g} {name}" for name, _ in asked)
        return f"it asks for {wants} of one node; free in the whole cluster: {has}"


def keep_sigterm() -> None:
    """Put the process's own handler back in its place.

    Ray's comes before it, writes a stack trace, and has the process aborted three seconds later: no time to drain. Only
    the main thread may do this; elsewhere, as in a replica of Ray Serve, Ray was there first and minds it.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGTERM, handler)
        signal.siginterrupt(signal.SIGTERM, False)  # as event loops have it


def import_ray() -> Any:
    """The module. Raises SettingsError where it is not installed."""
    try:
        import ray  # noqa: PLC0415 - an extra, and heavy
    except ImportError as error:
        raise SettingsError("ray is not installed: pip install 'collage-inference[ray]'") from error
    return ray


def one_line(error: BaseException) -> str:
    """What Ray says at the end of a message that may be a page."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if address.startswith("ray://"):
        raise SettingsError(
            f"ray_address: {address!r} is of Ray's client; run the gateway on a node, and give HOST:PORT"
        )
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"ray_address: {address!r} is none; HOST:PORT is needed, as `ray start --head` prints it")
    return host.strip("[]"), int(port)


def _answers(address: str) -> None:
    """Ray itself tries for minutes. Raises SettingsError where nothing listens."""
    try:
        socket.create_connection(_split(address), _CONNECT_SECONDS).close()
    except OSError as error:
        raise SettingsError(f"ray_address: nothing answers at {address} ({error.strerror or error})") from None
