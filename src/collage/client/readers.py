"""What the client reads of a gateway's answers: bytes -> values, or a GatewayError. Pure functions.

Public for whoever puts them to the test, as `collage.bench.chaos.fuzz` does.
"""

from collage.client._wire import read_answers, read_index, read_model, refusal

__all__ = ["read_answers", "read_index", "read_model", "refusal"]
