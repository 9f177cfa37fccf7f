"""Collage: image classification whose tail latency stays close to its median.

Source of the method: Narra et al., "Collage Inference", arXiv 1904.12222 (ICDCS 2020).
"""

__version__ = "0.1.0"
