"""The log: a line for each request and each event, as text or JSON, written where no request ever waits for it.

No image, key or header is in it: lines are made of what the gateway itself knows of a request (`RequestNotes`), and
other packages' chatter (an image library tells what stands in a file) is left out at any level.
"""

from collage.serving.logs._access import request_over
from collage.serving.logs._notes import ID_HEADER, RequestNotes, current_request, note_id
from collage.serving.logs._setup import lines_lost, logs_written

__all__ = [
    "ID_HEADER",
    "RequestNotes",
    "current_request",
    "lines_lost",
    "logs_written",
    "note_id",
    "request_over",
]
