"""A Ray cluster of several nodes on one machine, each a raylet of its own, in a process that its user can command.

In another process because Ray's calls that start and kill nodes block, and the gateway that is measured must not wait.

    python -m collage.bench.fleet._ray_nodes NODES CPUS      # then one command a line: remove ID, add; the end: no more
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from collage.exceptions import SettingsError

_STORE_BYTES = 80 * 2**20  # of each node


class RayNodes:
    """A running cluster. address: HOST:PORT; nodes: the ids of those that were started, its head first."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, nodes: list[str]) -> None:
        self.address = address
        self.nodes = nodes
        self._process = process

    async def remove(self, node: str) -> None:
        """Kill the raylet by SIGKILL, and with it its workers. The head must stay."""
        await self._say(f"remove {node}")
        self.nodes.remove(node)

    async def add(self) -> str:
        """Another node joins: its id."""
        self.nodes.append(str((await self._say("add"))["node"]))
        return self.nodes[-1]

    async def _say(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        await self._process.stdin.drain()
        return await _hear(self._process)


@asynccontextmanager
async def ray_nodes(nodes: int, cpus: int) -> AsyncIterator[RayNodes]:
    """A cluster of so many nodes with so many CPUs each; it ends with the context, or with this process.

    Raises SettingsError where it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "collage.bench.fleet._ray_nodes", str(nodes), str(cpus)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # a page of a raylet's last words when it is killed, as it shall be
    )
    try:
        said = await _hear(process)
        yield RayNodes(process, said["address"], said["nodes"])
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _hear(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Ray prints lines of its own between ours."""
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(b'{"collage"'):
            found: dict[str, Any] = json.loads(line)["collage"]
            return found
    raise SettingsError("the Ray cluster has ended; is ray installed? pip install 'collage-inference[ray]'")


def main(arguments: list[str]) -> None:
    """Start the cluster, do as told, and end it."""
    count, cpus = map(int, arguments)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

    node = {"num_cpus": cpus, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        nodes = {cluster.head_node.node_id: cluster.head_node}
        nodes |= {added.node_id: added for added in (cluster.add_node(**node) for _ in range(count - 1))}
        _say({"address": cluster.address, "nodes": list(nodes)})
        for line in sys.stdin:
            command, _, name = line.strip().partition(" ")
            if command == "add":
                added = cluster.add_node(**node)
                nodes[added.node_id] = added
                _say({"node": added.node_id})
            else:
                cluster.remove_node(nodes.pop(name), allow_graceful=False)
                _say({})
    finally:
        cluster.shutdown()


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"collage": what}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
