"""Write the shipped sample images: the first 30 test images of each Fashion-MNIST class, as PNG files named by index.

python scripts/make_samples.py
"""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path

from PIL import Image

from collage.data import open_dataset

PER_CLASS = 30
DATASET = "fashion-mnist"
TARGET = Path(__file__).parents[1] / "src/collage/zoo/samples" / DATASET


def main() -> None:
    """Write TARGET/<class>/<index in the test set>.png."""
    taken: Counter[int] = Counter()
    for file in open_dataset(DATASET).files("test"):
        if taken[file.label] < PER_CLASS:
            taken[file.label] += 1
            path = TARGET / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(BytesIO(file.data)).save(path, optimize=True)


if __name__ == "__main__":
    main()
