"""Collage: image classification whose tail latency stays close to its median.

Source of the method: Narra et al., "Collage Inference", arXiv 1904.12222 (ICDCS 2020).
"""

import os as _os

__version__ = "0.1.0"

# ONNX Runtime's Linux wheels collect telemetry and send it to their maker; a server must not, unless it is told to.
# It looks as it is imported, so this comes before any such import.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
