"""`collage distill` put to the test: a classifier that Collage did not make, images of mixed sizes, and few of them.

    COLLAGE_DATA=DIR python scripts/distill_study.py [--minutes 60] [--images 500 2000 10000 45000]

1. CIFAR-10's JPEG copy becomes an image folder of mixed sizes and shapes, some grey, some PNG.
2. scikit-learn trains a classifier on it: patches clustered by k-means, a dense net on how strongly each cluster is
   seen in each quarter of the image (after Coates, Ng and Lee, AISTATS 2011). It is written as plain ONNX operators.
3. `collage distill` makes a 3x3 collage-cnn for it, once with all images and once for each smaller number.

What is done is kept in --work, so that a run that was stopped goes on, and numbers of images may be run one by one;
figures and the report go to --out. Every distillation takes --minutes at most, and ends sooner where it has stopped
gaining.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from matplotlib.figure import Figure
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.cluster import MiniBatchKMeans
from sklearn.neural_network import MLPClassifier

from collage.data import ImageFiles, decode_files, find_images, open_dataset
from collage.imaging import Preprocessing
from collage.zoo import open_session, run_batch

SIDE, PATCH, CLUSTERS = 32, 6, 512
PREPROCESSING = Preprocessing(size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)
FloatArray = NDArray[np.float32]
Layer = tuple[FloatArray, FloatArray]  # weights (in, out), biases (out,)


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="for each distillation")
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2000, 10_000, 45_000])
    parser.add_argument("--work", type=Path, default=Path("runs/distill-study"))
    parser.add_argument("--out", type=Path, default=Path("results/distill"))
    given = parser.parse_args()
    folder, teacher = given.work / "images", given.work / "kmeans.onnx"
    if not (given.work / "images.done").exists():
        write_images(folder)
        (given.work / "images.done").touch()
    classes = open_dataset("cifar-10").classes
    if not teacher.exists():
        train_teacher(folder, classes, teacher)
    rows = []
    for count in sorted(given.images, reverse=True):  # the main one first
        summary = distill(teacher, folder, count, given.minutes, given.work)
        rows.append({"images": count, **summary})
        write_results(sorted(rows, key=lambda row: row["images"]), given.work, given.out)


def write_images(folder: Path) -> None:
    """CIFAR-10 as files that differ as people's do: 24 to 96 pixels a side, cropped, some grey, JPEG and PNG."""
    source = open_dataset("cifar-10")
    rng = np.random.default_rng(0)

    def save(name: str, data: bytes, draw: FloatArray) -> None:
        with Image.open(io.BytesIO(data)) as image:
            side = round(32 + 64 * float(draw[0]))
            width, height = (round(side * (1 - 0.2 * float(share))) for share in draw[1:3])
            picture = image.convert("L" if draw[3] < 0.15 else "RGB").resize((side, side), Image.Resampling.BICUBIC)
        left, top = (side - width) // 2, (side - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
        path = (folder / name).with_suffix(".png" if draw[4] < 0.2 else ".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **({} if path.suffix == ".png" else {"quality": 92}))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split in ("train", "test"):
            files = source.files(split)  # type: ignore[arg-type]
            done = [pool.submit(save, f"{split}/{f.name}", f.data, rng.random(5).astype(np.float32)) for f in files]
            for future in done:
                future.result()


def train_teacher(folder: Path, classes: list[str], path: Path) -> None:
    """k-means and a dense net, by scikit-learn; the ONNX file is made of convolution, mean and matrices."""
    found = find_images(folder, "train", classes=classes)
    rng = np.random.default_rng(0)
    sample = found.take(np.sort(rng.choice(len(found), min(len(found), 8000), replace=False)))
    patches = _patches(sample, rng)  # (n, 3 * PATCH * PATCH)
    mean = patches.mean(0)
    values, vectors = np.linalg.eigh(np.cov((patches - mean).T))
    whiten = vectors @ np.diag(1 / np.sqrt(values + 0.01)) @ vectors.T
    white = (patches - mean) @ whiten
    white /= np.linalg.norm(white, axis=1, keepdims=True) + 1e-6
    centres = MiniBatchKMeans(CLUSTERS, batch_size=4096, n_init=1, random_state=0).fit(white).cluster_centers_
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    filters = centres @ whiten.T  # a patch's likeness to each centre, as one convolution
    responses = (patches[:20_000] - mean) @ filters.T
    threshold = float(responses.std())  # only what is clearly seen counts
    convolution = filters.reshape(CLUSTERS, 3, PATCH, PATCH).astype(np.float32)
    bias = (-filters @ mean - threshold).astype(np.float32)
    features = path.with_name("features.onnx")
    _write_graph(features, convolution, bias, [])
    rows = np.concatenate(list(_features(features, found)))  # (n, 4 * CLUSTERS)
    centre, scale = rows.mean(0), rows.std(0) + 1e-6
    net = MLPClassifier((256,), alpha=1e-3, batch_size=256, early_stopping=True, max_iter=30, n_iter_no_change=4,
                        random_state=0, verbose=True)  # fmt: skip
    net.fit((rows - centre) / scale, found.labels)
    weights, biases = list(net.coefs_), list(net.intercepts_)
    biases[0] = biases[0] - (centre / scale) @ weights[0]
    weights[0] = weights[0] / scale[:, None]
    dense = [(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(weights, biases, strict=True)]
    _write_graph(path, convolution, bias, dense)
    path.with_suffix(".toml").write_text(f"size = {SIDE}\nmean = [0.0]\nstd = [1.0]\nclasses = {json.dumps(classes)}\n")
    features.unlink()


def _patches(images: ImageFiles, rng: np.random.Generator, each: int = 25) -> FloatArray:
    found = []
    for pixels in decode_files(images, PREPROCESSING):
        for top, left in rng.integers(0, SIDE - PATCH + 1, (each, 2)):
            found.append(pixels[top : top + PATCH, left : left + PATCH].transpose(2, 0, 1).ravel())
    return (np.stack(found) / 255).astype(np.float32)


def _features(graph: Path, images: ImageFiles) -> Any:
    session, batch = open_session(graph, threads=os.cpu_count() or 1), []
    for index, pixels in enumerate(decode_files(images, PREPROCESSING), 1):
        batch.append(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
        if len(batch) == 64 or index == len(images):
            yield run_batch(session, np.stack(batch))
            batch = []


def _write_graph(path: Path, convolution: FloatArray, bias: FloatArray, dense: list[Layer]) -> None:
    """Features (N, 4 * CLUSTERS), or, with dense layers behind them, logits (N, classes)."""
    window = (SIDE - PATCH + 1) // 2
    pool = {"kernel_shape": [window] * 2, "strides": [window] * 2}
    nodes = [
        helper.make_node("Conv", ["images", "filters", "offsets"], ["likeness"]),
        helper.make_node("Relu", ["likeness"], ["seen"]),
        helper.make_node("AveragePool", ["seen"], ["quarters"], **pool),
        helper.make_node("Flatten", ["quarters"], ["rows0"]),
    ]
    values = {"filters": convolution, "offsets": bias}
    for layer, (weights, offsets) in enumerate(dense):
        values |= {f"weights{layer}": weights, f"biases{layer}": offsets}
        last = layer == len(dense) - 1
        out = f"rows{layer + 1}" if last else f"sums{layer}"
        nodes.append(helper.make_node("Gemm", [f"rows{layer}", f"weights{layer}", f"biases{layer}"], [out]))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"rows{layer + 1}"]))
    columns = len(dense[-1][1]) if dense else 4 * CLUSTERS
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(f"rows{len(dense)}", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def distill(teacher: Path, folder: Path, count: int, minutes: float, work: Path) -> dict[str, Any]:
    """Run the command, as anybody would; what it has finished is not done again."""
    name = f"kmeans-collage-3x3-{count}"
    report = work / "models" / name / "summary.json"
    if not report.exists():
        command = [sys.executable, "-c", "from collage.cli import main; main()", "distill", "--single", str(teacher)]
        command += ["--images", str(folder), "--labels", "--grid", "3", "--minutes", f"{minutes:g}", "--name", name]
        command += ["--limit", str(count), "--run", str(work / name), "--out", str(work / "models")]
        subprocess.run(command, check=True)
    asked = json.loads((work / name / "plan.json").read_text())["request"]
    return {"minutes": asked["minutes"], **json.loads(report.read_text())}


def write_results(rows: list[dict[str, Any]], work: Path, out: Path) -> None:
    """The table, the plot, and the report of the largest run."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "few-images.json").write_text(json.dumps(rows, indent=2) + "\n")
    if len(rows) > 1:
        _plot_few(rows, out / "few-images.png")
    largest = work / "models" / rows[-1]["collage"]
    for path in largest.iterdir():
        if path.suffix in (".md", ".png", ".json") and "confusion" not in path.name:
            shutil.copy(path, out / path.name)


def _plot_few(rows: list[dict[str, Any]], path: Path) -> None:
    counts = [row["images"] for row in rows]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(counts, [row["a_d"] for row in rows], "o-", label="collage 3x3, A_d")
    axes.plot(counts, [row["agreement"] for row in rows], "s--", label="same answer as the single")
    axes.axhline(rows[-1]["a_a"], color="black", linestyle=":", label="single, A_a")
    axes.set(xscale="log", xlabel="training images", ylabel="share of test images", title="Distilled from few images")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
