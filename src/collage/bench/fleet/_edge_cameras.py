"""The cameras of a measured run: a process at the edge's end. Photographs come at their times, whatever comes back.

python -c "from collage.bench.fleet._edge_cameras import main; main()" FOLDER

FOLDER holds plan.json (url, deadline, seconds of the arrivals, files) and the photographs; asked.json is left there.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx

_GRACE = 5.0  # seconds beyond the deadline


def main() -> None:
    """Run it."""
    folder = Path(sys.argv[1])
    plan = json.loads((folder / "plan.json").read_text())
    photos = [(folder / name).read_bytes() for name in plan["files"]]
    (folder / "asked.json").write_text(json.dumps(asyncio.run(_run(plan, photos))))


async def _run(plan: dict[str, Any], photos: list[bytes]) -> list[dict[str, Any]]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(
        base_url=plan["url"], timeout=plan["deadline"] + _GRACE, limits=limits, trust_env=False
    ) as http:
        while (await http.get("/v2/health/ready")).status_code != 200:
            await asyncio.sleep(0.1)
        warm = await http.post("/v1/classify", content=photos[0], params={"deadline_ms": plan["deadline"] * 1e3})
        before = (await http.get("/v1/edge")).json()
        began = time.monotonic()

        async def one(number: int, when: float) -> dict[str, Any]:
            await asyncio.sleep(max(0.0, began + when - time.monotonic()))
            asked = time.monotonic()
            try:
                response = await http.post(
                    "/v1/classify", content=photos[number], params={"deadline_ms": plan["deadline"] * 1e3}
                )
                said: dict[str, Any] = response.json()
                status = response.status_code
            except httpx.HTTPError as error:
                said, status = {"error": str(error)}, 0
            return {"seconds": time.monotonic() - asked, "status": status} | said

        asked = await asyncio.gather(*(one(number, when) for number, when in enumerate(plan["arrivals"])))
        after = (await http.get("/v1/edge")).json()
    return [{"warm": warm.status_code, "before": before, "after": after}, *asked]
