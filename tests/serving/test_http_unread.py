"""Clients that ask and do not read the answers."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from ..waiting import wait_until

PAGE = b"GET /static/dashboard.js HTTP/1.1\r\nHost: x\r\n\r\n"
MANY = 2000  # of 10 kB: more than the kernel's buffers take


def _sockets(gateway: Any) -> int:
    """How many the gateway has open."""
    count = 0
    for entry in Path(f"/proc/{gateway.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            count += str(entry.readlink()).startswith("socket:")
    return count


def _ask_for_much(gateway: Any) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect((gateway.host, gateway.port))
    connection.sendall(PAGE * MANY)
    return connection


def test_a_client_that_does_not_read_is_cut_off(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(write_seconds=0.5, workers=1)
    before = _sockets(gateway)
    with _ask_for_much(gateway) as connection:
        connection.recv(1)  # answers have begun to come
        wait_until(lambda: _sockets(gateway) <= before, "its connection is closed")
        assert gateway.ask("POST", "/v1/classify", png(4))[1]["label"] == "g4"
    status, errors = gateway.stop()
    assert (status, "ERROR" in errors) == (0, False), errors


def test_a_client_that_reads_late_gets_everything(start_gateway: Any) -> None:
    gateway = start_gateway(write_seconds=60.0, workers=1)
    with _ask_for_much(gateway) as connection, connection.makefile("rb") as stream:
        length = 0
        for _ in range(MANY):
            assert stream.readline().split()[1] == b"200"
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            assert len(stream.read(length)) == length
    assert gateway.stop()[0] == 0
