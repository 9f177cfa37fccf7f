"""The Open Inference Protocol's gRPC messages and methods, for clients (engines) and servers (serving) alike."""

from collage.oip._messages import METHODS, SERVICE, Method, message
from collage.oip._parameters import read_parameters, write_parameters

__all__ = ["METHODS", "SERVICE", "Method", "message", "read_parameters", "write_parameters"]
