"""What the gateway reads of clients' requests: bytes and messages -> images and tensors, or InvalidInput.

Pure functions. Public for whoever puts them to the test, as `collage.bench.chaos.fuzz` does.
"""

from collage.serving._grpc_codec import parse_infer_message
from collage.serving._oip_model import OipModel
from collage.serving._oip_repository import parse_index, parse_load, parse_unload
from collage.serving._oip_request import InferRequest, parse_infer
from collage.serving._prepare import Preparer

__all__ = [
    "InferRequest",
    "OipModel",
    "Preparer",
    "parse_index",
    "parse_infer",
    "parse_infer_message",
    "parse_load",
    "parse_unload",
]
