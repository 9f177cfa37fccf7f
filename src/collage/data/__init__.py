"""Datasets: any image folder, Fashion-MNIST, CIFAR-10. All give files and labels; pixels come from `imaging`."""

from collage.data._datasets import open_dataset
from collage.data._pixels import PixelSet, load_pixels, split_validation
from collage.data._source import Dataset, File, Split

__all__ = ["Dataset", "File", "PixelSet", "Split", "load_pixels", "open_dataset", "split_validation"]
