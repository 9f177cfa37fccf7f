"""Ray Serve, in its own environment: ray_app.py MODEL.onnx PORT WORKERS

One deployment, as many replicas as workers, a core each. The environment has what its documentation says for high
throughput: RAY_SERVE_ENABLE_HA_PROXY=1 and RAY_SERVE_THROUGHPUT_OPTIMIZED=1. Images come as raw bytes. Access logs off.
"""

import signal
import sys

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment
class Onnx:
    """Any ONNX file of one input and one output."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.output = self.session.get_outputs()[0].name

    async def __call__(self, request: Request) -> Response:
        x = np.frombuffer(await request.body(), np.float32).reshape(1, *self.input.shape[1:])
        scores = self.session.run([self.output], {self.input.name: x})[0]
        return Response(scores.astype("<f4").tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    path, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ray.init(
        address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    app = Onnx.options(
        num_replicas=workers,
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=100,
        logging_config={"enable_access_log": False},
    ).bind(path)
    serve.run(app, route_prefix="/predict")
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        serve.shutdown()
        ray.shutdown()
