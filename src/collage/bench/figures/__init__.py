"""Figures of simulated experiments: lines, bars, distributions, frontiers and maps."""

from collage.bench.figures._draw import draw

__all__ = ["draw"]
