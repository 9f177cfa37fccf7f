"""What the engines read of workers and of remote servers: bytes -> frames and tensors, or an error that says why.

Pure functions. Public for whoever puts them to the test, as `collage.bench.chaos.fuzz` does.
"""

from collage.engines._oip_wire import check_tensors, decode_response
from collage.engines._wire import HEADER, MAGIC, Frame, Kind, Parser, WireError, pack

__all__ = ["HEADER", "MAGIC", "Frame", "Kind", "Parser", "WireError", "check_tensors", "decode_response", "pack"]
