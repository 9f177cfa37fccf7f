"""What a collage call of a tile-isolated net takes over a single call, by the net's widths: untrained, one thread.

    python scripts/backbone_times.py --single cifar-10-single --grid 3 36,104,160 32,96,208

Prints multiply-accumulates and time over the single's, median and quartiles of pairs of calls taken in turn. ONNX
Runtime works on blocks of 16 channels (AVX-512; 8 without): widths that are no multiple of it pay for channels that
they do not have.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from collage.nets import TileNetSettings, WhitenedNetSettings, build_net, count_macs
from collage.training import write_onnx
from collage.zoo import load_model, open_session


def main() -> None:
    """Measure every net that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("widths", nargs="+", help="one net: its stages' widths, separated by commas")
    parser.add_argument("--single", default="cifar-10-single")
    parser.add_argument("--grid", type=int, default=3)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    single = load_model(options.single)
    card = single.card
    assert card.cost is not None
    shape = (1, card.preprocessing.channels, *[card.preprocessing.size] * 2)
    canvas = (1, shape[1], *[options.grid * shape[2]] * 2)
    base, image = open_session(single.path, threads=1), np.zeros(shape, np.float32)
    print(f"{'widths':>16}  MACs   time (quartiles)")  # noqa: T201
    for text in options.widths:
        backbone = WhitenedNetSettings(
            widths=tuple(map(int, text.split(","))), depth=options.depth, squeeze=options.depth >= 3
        )
        net = build_net(
            TileNetSettings(backbone=backbone), channels=shape[1], classes=len(card.classes), grid=options.grid
        ).eval()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            write_onnx(net, path, canvas, input_name="collage")
            session, picture = open_session(path, threads=1), np.zeros(canvas, np.float32)
            ratios = []
            for _ in range(options.pairs + 20):
                began = time.perf_counter()
                session.run(None, {"collage": picture})
                middle = time.perf_counter()
                base.run(None, {base.get_inputs()[0].name: image})
                ratios.append((middle - began) / (time.perf_counter() - middle))
        low, median, high = np.quantile(ratios[20:], [0.25, 0.5, 0.75])  # the first pairs warm up
        macs = count_macs(net, canvas) / card.cost.macs
        print(f"{text:>16}  {macs:.3f}  {median:.3f} ({low:.3f} to {high:.3f})", flush=True)  # noqa: T201


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
