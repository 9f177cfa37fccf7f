"""Experiments: open-loop load, policies side by side, figures and tables. One TOML file an experiment."""

from collage.bench._fit_plot import plot_fit

__all__ = ["plot_fit"]
