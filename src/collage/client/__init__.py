"""A client of the gateway, sync and async, over one kept set of connections.

from collage.client import Client

with Client("http://127.0.0.1:8080") as client:
    answer = client.classify("shoe.png", deadline=0.2)
    print(answer.label, answer.confidence, answer.source)
"""

from collage.client._answers import Answer, Candidate, Model
from collage.client._async import AsyncClient
from collage.client._images import Image
from collage.client._sync import Client
from collage.exceptions import (
    GatewayBusy,
    GatewayError,
    GatewayTooLate,
    GatewayUnreachable,
    NotAllowed,
    RequestRefused,
)

__all__ = [
    "Answer",
    "AsyncClient",
    "Candidate",
    "Client",
    "GatewayBusy",
    "GatewayError",
    "GatewayTooLate",
    "GatewayUnreachable",
    "Image",
    "Model",
    "NotAllowed",
    "RequestRefused",
]
