"""Datasets: any image folder, Fashion-MNIST, CIFAR-10. All give files and labels; pixels come from `imaging`."""

from collage.data._datasets import open_dataset
from collage.data._images import UNLABELLED, ImageFiles, class_folders, decode_files, find_images, keep_pixels
from collage.data._pixels import PixelSet, load_pixels, split_validation
from collage.data._source import Dataset, File, Split

__all__ = [
    "UNLABELLED",
    "Dataset",
    "File",
    "ImageFiles",
    "PixelSet",
    "Split",
    "class_folders",
    "decode_files",
    "find_images",
    "keep_pixels",
    "load_pixels",
    "open_dataset",
    "split_validation",
]
