"""Asks a gateway by the published gRPC client, in that client's own environment. Prints the classes it was told.

usage: ask_by_triton.py HOST:PORT IMAGE...
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
files = np.array([Path(name).read_bytes() for name in sys.argv[2:]], dtype=object)
tensor = triton.InferInput("images", [len(files)], "BYTES")
tensor.set_data_from_numpy(files)
assert client.is_server_ready()
assert client.is_model_ready("fashion-mnist-single")
result = client.infer("fashion-mnist-single", [tensor], client_timeout=60)
said = {name: json.loads(value.string_param) for name, value in result.get_response().parameters.items()}
json.dump({"classes": result.as_numpy("logits").argmax(axis=1).tolist(), **said}, sys.stdout)
