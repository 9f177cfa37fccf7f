"""The live target that is driven by the gateway's own description, /openapi.json: schemathesis makes the requests.

For each operation there are requests that fit the description and requests that do not. Names of the model that is
served and of its workers are put in often, as no generator would guess them.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from typing import Any
from urllib.parse import quote

import requests

from collage.bench.chaos.fuzz._kept import keep
from collage.bench.chaos.fuzz._live import Live
from collage.bench.chaos.fuzz._requests import MODEL

NAME = "http-described"
WHAT = "a gateway process: requests that its own `/openapi.json` allows or forbids, by schemathesis"
_OF_EACH = 50  # requests of one operation before the next one's turn
_WARM = 10
_NOT_ASKED = ("/v1/workers",)  # starts processes: asked for numbers that are none only
_KNOWN = {"model": MODEL, "version": "1", "worker": "w0"}
_REPLACED = 0.7
_HONEST = (503, 504)


def run_described(live: Live, seed: int, first: int, count: int) -> None:
    """So many requests, operation by operation. Blocks: not for the event loop's thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own
        operations = _operations(f"http://{live.host}:{live.port}")
        session = requests.Session()
        session.trust_env = False
        done, turn = 0, first  # whose turns no other part has: each has a request at least
        while done < count:
            operation = operations[turn % len(operations)]
            wanted = min(_OF_EACH, count - done)
            # Where an operation has few different requests, the next one's turn comes sooner.
            cases = _cases(operation, wanted, seed * 1_000_003 + turn)
            for number, case in enumerate(cases):
                if live.counts.memory_before == 0 and done >= count // _WARM:
                    live.counts.memory_before = live.memory()
                _known(operation, case, random.Random(f"{seed}-{turn}-{number}"))
                wrong = _ask(live, session, operation, case)
                if wrong is not None:
                    keep(live.folder, f"{NAME}-{seed}-{turn}-{number}", repr(case).encode(), wrong)
            done += len(cases)
            turn += 1


def _operations(url: str) -> list[Any]:
    """Those that take something, several times as often as those that take nothing."""
    import schemathesis  # noqa: PLC0415 - slow to import, and only needed here
    from schemathesis.core.result import Ok  # noqa: PLC0415

    description = requests.get(f"{url}/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(description)
    schema.config.update(base_url=url)
    found: list[Any] = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    bodies = [operation for operation in found if operation.method.upper() == "POST"]
    return found + bodies


def _cases(operation: Any, count: int, seed: int) -> list[Any]:
    from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415
    from hypothesis import seed as seeded  # noqa: PLC0415
    from hypothesis.errors import Unsatisfiable  # noqa: PLC0415
    from schemathesis import GenerationMode  # noqa: PLC0415

    found: list[Any] = []
    mode = GenerationMode.NEGATIVE if seed % 2 else GenerationMode.POSITIVE
    for wanted in (mode, GenerationMode.POSITIVE):  # one that takes nothing has no wrong requests

        @seeded(seed)
        @settings(
            max_examples=count,
            database=None,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=wanted))
        def go(case: Any) -> None:
            found.append(case)

        with contextlib.suppress(Unsatisfiable):
            go()
        if found:
            break
    return found[:count]


def _known(operation: Any, case: Any, rng: random.Random) -> None:
    """Put in names that are there; and no number of workers that would be started."""
    method = operation.method.upper()
    spared = method == "DELETE" or operation.path.endswith(("/load", "/unload"))  # others are to be answered still
    for name, value in _KNOWN.items():
        if name in (case.path_parameters or {}) and rng.random() < _REPLACED and not spared:
            case.path_parameters[name] = quote(value, safe="")
    if operation.path in _NOT_ASKED and method == "POST":
        case.query["count"] = rng.choice((0, -1, "x", 65, "1e1", "٣", "9" * 50))
    if operation.path.endswith("/infer") and isinstance(case.body, dict) and rng.random() < _REPLACED:
        inputs = case.body.get("inputs")
        for tensor in inputs if isinstance(inputs, list) else ():
            if isinstance(tensor, dict):
                tensor["name"] = "images"


def _ask(live: Live, session: Any, operation: Any, case: Any) -> str | None:
    """Send it, and count what came of it. What was wrong, if something was."""
    live.counts.inputs += 1
    try:
        response = session.request(**case.as_transport_kwargs(), timeout=live.hang_seconds, allow_redirects=False)
    except requests.Timeout:
        live.counts.hangs += 1
        return f"no answer within {live.hang_seconds:g} s"
    except (requests.RequestException, ValueError):  # it cannot be sent, or the connection was just closed as idle
        return None
    status = response.status_code
    live.counts.accepted += status < 300
    why = f"{operation.label}: {status}: {response.text[:1000]}"
    if status in _HONEST and ("retry-after" in response.headers or operation.path.endswith("/ready")):
        live.counts.unavailable += 1
    elif status >= 500:
        live.counts.server_errors += 1
        return why
    # What is no HTTP is answered by the server in front of all routes, in plain text.
    plain = response.headers.get("content-type") == "text/plain; charset=utf-8"
    if str(status) not in operation.definition.raw["responses"] and not plain:
        live.counts.undescribed += 1
        return f"not described: {why}"
    return None
