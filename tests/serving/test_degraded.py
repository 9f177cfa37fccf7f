"""With a straggler among the workers: what those get who take a backup's answer, and those who refuse it."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import numpy as np

POLICY = {"warmup": 20, "patience_quantile": 0.6, "budget": 1.0, "second_line": False}


def _infer(gateway: Any, png: Any, labels: list[int], accept_degraded: bool) -> dict[str, list[Any]]:
    """A request's response parameters; its answers must be right, and in the single's form."""
    data = [base64.b64encode(png(label)).decode() for label in labels]
    tensor = {"name": "images", "datatype": "BYTES", "shape": [len(labels)], "data": data}
    request = {"inputs": [tensor], "parameters": {"accept_degraded": accept_degraded, "deadline_ms": 60_000}}
    status, response, _ = gateway.ask("POST", "/v2/models/greys/infer", json.dumps(request).encode())
    assert status == 200, response
    (output,) = response["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [len(labels), 10])
    assert np.reshape(output["data"], (-1, 10)).argmax(axis=1).tolist() == labels
    return {name: json.loads(value) for name, value in response["parameters"].items()}


def test_degraded_answers_are_marked_and_only_given_to_those_who_take_them(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(hold=0.02, workers=3, demo=True, policy_overrides=POLICY)
    over, refused = threading.Event(), []

    def refuse() -> None:
        while not over.is_set():
            refused.append(_infer(gateway, png, [1, 2], accept_degraded=False))

    thread = threading.Thread(target=refuse)
    thread.start()
    try:
        marked: list[dict[str, list[Any]]] = []
        while not marked:
            assert gateway.ask("POST", "/demo/straggle?worker=w0")[0] == 200
            taken = [_infer(gateway, png, [3, 7, 5, 9], accept_degraded=True) for _ in range(10)]
            marked = [said for said in taken if "collage" in said["source"]]
            for said in taken:
                assert said["degraded"] == [source == "collage" for source in said["source"]]
                assert all(0 < confidence <= 1 for confidence in said["confidence"])
    finally:
        over.set()
        thread.join()
    assert refused
    for said in refused:
        assert set(said["source"]) <= {"single", "replica"}
        assert said["degraded"] == [False, False]
    assert gateway.stop()[0] == 0
