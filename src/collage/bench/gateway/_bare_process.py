"""ONNX Runtime in a loop, and nothing else: the limit. Run as a file, without the rest of Collage.

    python -P _bare_process.py MODEL.onnx

Reads lines {"seconds": s, "share": 0..1} and answers each with {"seconds": ..., "calls": [seconds of each call]}.
share: of the time that it calculates; it sleeps in between. It says {"ready": true} first.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import onnxruntime as ort


def main(path: str) -> None:
    """Until stdin ends."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    inputs = np.random.default_rng(0).random((1, *given.shape[1:]), dtype=np.float32)
    names, feed = [session.get_outputs()[0].name], {given.name: inputs}
    session.run(names, feed)
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        calls, share, began = [], asked["share"], time.perf_counter()
        end = began + asked["seconds"]
        while (now := time.perf_counter()) < end:
            session.run(names, feed)
            calls.append(time.perf_counter() - now)
            if share < 1.0:
                time.sleep(calls[-1] * (1 / share - 1))
        _say({"seconds": time.perf_counter() - began, "calls": calls})


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
