"""LitServe, in its own environment: litserve_app.py MODEL.onnx PORT WORKERS

As its documentation says for several workers on a CPU: devices=1, workers_per_device, as many API servers; and its
faster queue (`fast_queue`). Images come as base64 in JSON, which its API servers take requests as.
"""

import base64
import sys

import litserve
import numpy as np
import onnxruntime


class Onnx(litserve.LitAPI):
    """Any ONNX file of one input and one output."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.output = self.session.get_outputs()[0].name

    def decode_request(self, request):
        return np.frombuffer(base64.b64decode(request["data"]), np.float32).reshape(request["shape"])

    def predict(self, x):
        return self.session.run([self.output], {self.input: x})[0]

    def encode_response(self, output):
        return {"scores": output[0].tolist()}


if __name__ == "__main__":
    path, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    server = litserve.LitServer(Onnx(path), accelerator="cpu", devices=1, workers_per_device=workers, fast_queue=True)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
