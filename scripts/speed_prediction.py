"""How well a worker's next service time is predicted from its last ones: the predictors of S2C2, on a measured trace.

    COLLAGE_DATA=DIR python scripts/speed_prediction.py

DIR has `resnet34-service-times.npy`: one worker's times in the order in which it had them. They go into blocks of 1,000
in turn to fit and to test on, so that both have of the one long slow time that the trace holds; no prediction looks
back into another block. Each predictor is also tried on the same times in random order, where nothing can be
predicted. Predictors (Narra et al., "Slack Squeeze Coded Computing", arXiv 1904.07098, compares autoregressions with an
LSTM of 4 units and look-back 1):

    mean          of the times to fit on
    last          the last time
    ewma          an exponentially weighted mean of all before; its weight fitted
    ar-1 ...      autoregressions of the last k times, by least squares
    lstm          4 units, look-back 1, a linear output; squared error, Adam; mean of three seeds
    dispatcher    what `placement = "speed"` does: an autoregression of the last time's excess over the median

Leaves errors.csv, figure.png and conditions.json in --out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Predictor = Callable[[Floats], Floats]  # (n, LOOK_BACK), the oldest first -> (n,)

FILE, BLOCK, LOOK_BACK, SLOW = "resnet34-service-times.npy", 1000, 50, 3.0
ORDERS = (1, 2, 4, 8)
UNITS, SEEDS, EPOCHS, BATCH, RATE = 4, 3, 30, 512, 0.01


def windows(times: Floats, blocks: Iterable[int]) -> tuple[Floats, Floats]:
    """Pasts (n, LOOK_BACK) and what came next (n,), of these blocks."""
    pasts, nexts = [], []
    for block in blocks:
        own = times[block * BLOCK : (block + 1) * BLOCK]
        if len(own) > LOOK_BACK:
            pasts.append(np.lib.stride_tricks.sliding_window_view(own, LOOK_BACK)[:-1])
            nexts.append(own[LOOK_BACK:])
    return np.concatenate(pasts), np.concatenate(nexts)


def fit_mean(past: Floats, after: Floats) -> Predictor:
    """The same for all."""
    mean = float(after.mean())
    return lambda given: np.full(len(given), mean)


def fit_last(past: Floats, after: Floats) -> Predictor:
    """The last value."""
    return lambda given: given[:, -1]


def fit_ewma(past: Floats, after: Floats) -> Predictor:
    """The weight of the newest value, of twenty, that has the least squared error."""

    def predictor(weight: float) -> Predictor:
        weights = weight * (1 - weight) ** np.arange(LOOK_BACK - 1, -1, -1.0)
        return lambda given: given @ (weights / weights.sum())

    tried = [predictor(weight) for weight in np.linspace(0.05, 1, 20)]
    return min(tried, key=lambda predict: float(((predict(past) - after) ** 2).mean()))


def fit_ar(past: Floats, after: Floats, order: int) -> Predictor:
    """Least squares of the last `order` values and a constant."""

    def design(given: Floats) -> Floats:
        return np.column_stack([given[:, -order:], np.ones(len(given))])

    weights, *_ = np.linalg.lstsq(design(past), after, rcond=None)
    return lambda given: design(given) @ weights


def fit_dispatcher(past: Floats, after: Floats) -> Predictor:
    """As `collage.dispatch._speed`: a factor, 0 to 1, of the last excess over the median."""
    usual = float(np.median(after))
    before, now = past[:, -1] / usual - 1, after / usual - 1
    factor = min(0.99, max(0.0, float(before @ now / (before @ before))))
    return lambda given: usual * (1 + factor * (given[:, -1] / usual - 1))


class Lstm:
    """One step of an LSTM from a state of zeros (so that the forget gate has nothing to forget), and a linear output.

    values: (4, UNITS) weights and (3, UNITS) constants of input gate, output gate and candidate; the output's constant.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weights: list[Floats] = [rng.normal(0, 0.7, (4, UNITS)), np.zeros((3, UNITS)), np.zeros(1)]

    def __call__(self, x: Floats) -> Floats:
        """(n,) -> (n,)."""
        return self._forward(x)[0]

    def _forward(self, x: Floats) -> tuple[Floats, tuple[Floats, ...]]:
        weights, constants, constant = self.weights
        gate_in, gate_out = (1 / (1 + np.exp(-(x[:, None] * weights[i] + constants[i]))) for i in (0, 1))  # (n, UNITS)
        candidate = np.tanh(x[:, None] * weights[2] + constants[2])
        cell = np.tanh(gate_in * candidate)
        return (gate_out * cell) @ weights[3] + constant[0], (gate_in, gate_out, candidate, cell)

    def gradient(self, x: Floats, after: Floats) -> list[Floats]:
        """Of half the mean squared error, in the order of `weights`."""
        said, (gate_in, gate_out, candidate, cell) = self._forward(x)
        error = (said - after)[:, None] / len(x)  # (n, 1)
        at_output = error * self.weights[0][3]
        at_cell = at_output * gate_out * (1 - cell**2)
        parts = [
            at_cell * candidate * gate_in * (1 - gate_in),
            at_output * cell * gate_out * (1 - gate_out),
            at_cell * gate_in * (1 - candidate**2),
        ]
        output = (error * gate_out * cell).sum(0)
        return [
            np.stack([*((part * x[:, None]).sum(0) for part in parts), output]),
            np.stack([part.sum(0) for part in parts]),
            error.sum(0),
        ]

    def fit(self, x: Floats, after: Floats, seed: int) -> None:
        """Adam (Kingma and Ba, arXiv 1412.6980), with a rate that falls to nothing."""
        rng, step = np.random.default_rng(seed), 0
        first, second = ([np.zeros_like(weight) for weight in self.weights] for _ in range(2))
        steps = EPOCHS * (len(x) // BATCH)
        for _ in range(EPOCHS):
            order = rng.permutation(len(x))
            for start in range(0, len(x) - BATCH + 1, BATCH):
                picked = order[start : start + BATCH]
                rate, step = RATE * (1 - step / steps), step + 1
                for number, slope in enumerate(self.gradient(x[picked], after[picked])):
                    first[number] += 0.1 * (slope - first[number])
                    second[number] += 0.001 * (slope**2 - second[number])
                    mean, square = first[number] / (1 - 0.9**step), second[number] / (1 - 0.999**step)
                    self.weights[number] = self.weights[number] - rate * mean / (np.sqrt(square) + 1e-8)


def fit_lstm(past: Floats, after: Floats, seed: int) -> Predictor:
    """On times over their median, less 1."""
    usual = float(np.median(after))
    net = Lstm(seed)
    net.fit(past[:, -1] / usual - 1, after / usual - 1, seed)
    return lambda given: usual * (1 + net(given[:, -1] / usual - 1))


FITTED: dict[str, list[Callable[[Floats, Floats], Predictor]]] = {
    "mean": [fit_mean],
    "last": [fit_last],
    "ewma": [fit_ewma],
    **{f"ar-{k}": [lambda past, after, k=k: fit_ar(past, after, k)] for k in ORDERS},  # type: ignore[misc]
    "lstm": [lambda past, after, seed=seed: fit_lstm(past, after, seed) for seed in range(SEEDS)],  # type: ignore[misc]
    "dispatcher": [fit_dispatcher],
}


def errors(times: Floats) -> dict[str, dict[str, float]]:
    """By predictor: mean absolute and root mean squared error, seconds; mean absolute error in per cent of the time;

    and of the times above three medians, the share that was predicted to be so, and of those predicted, the share that
    were.
    """
    blocks = range(-(-len(times) // BLOCK))
    to_fit, to_test = windows(times, blocks[::2]), windows(times, blocks[1::2])
    limit = SLOW * float(np.median(times))
    found = {}
    for name, fits in FITTED.items():
        each = [_errors(fit(*to_fit)(to_test[0]), to_test[1], limit) for fit in fits]
        found[name] = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    return found


def _errors(said: Floats, was: Floats, limit: float) -> dict[str, float]:
    off, slow, called = said - was, was > limit, said > limit
    return {
        "mae": float(np.abs(off).mean()),
        "rmse": float(np.sqrt((off**2).mean())),
        "mape": float(np.abs(off / was).mean()),
        "slow_found": float((slow & called).sum() / max(1, slow.sum())),
        "called_right": float((slow & called).sum() / max(1, called.sum())),
    }


def draw(found: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Both errors, side by side for both orders."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    titles = {"mae": "mean absolute error, ms", "rmse": "root mean squared error, ms"}
    for axes, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        names = list(next(iter(found.values())))
        for number, (order, rows) in enumerate(found.items()):
            places = np.arange(len(names)) + 0.4 * number
            axes.bar(places, [rows[name][key] * 1000 for name in names], 0.38, label=order)
        axes.set_xticks(np.arange(len(names)) + 0.2, names, rotation=45, ha="right")
        axes.set_title(title)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> int:
    """0, or 1 where the trace is absent."""
    parser = argparse.ArgumentParser(description="How well a worker's next service time is predicted.")
    parser.add_argument("--out", type=Path, default=Path("results/speed-prediction"))
    out = parser.parse_args().out
    path = Path(os.environ.get("COLLAGE_DATA", "data")) / FILE
    if not path.is_file():
        print(f"{path}: absent; set COLLAGE_DATA to the folder that has it", file=sys.stderr)  # noqa: T201
        return 1
    times = np.load(path).astype(np.float64)
    orders = {"as measured": times, "in random order": np.random.default_rng(0).permutation(times)}
    found = {order: errors(given) for order, given in orders.items()}
    out.mkdir(parents=True, exist_ok=True)
    with (out / "errors.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        keys = list(found["as measured"]["mean"])
        writer.writerow(["order", "predictor", *keys])
        for order, rows in found.items():
            for name, row in rows.items():
                writer.writerow([order, name, *(f"{row[key]:.6f}" for key in keys)])
    conditions = {
        "command": "python scripts/speed_prediction.py", "trace": FILE, "times": len(times), "block": BLOCK,
        "look_back": LOOK_BACK, "lstm": {"units": UNITS, "look_back": 1, "seeds": SEEDS, "epochs": EPOCHS},
    }  # fmt: skip
    (out / "conditions.json").write_text(json.dumps(conditions, indent=2) + "\n", "utf-8")
    draw(found, out / "figure.png")
    print((out / "errors.csv").read_text("utf-8"), end="")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
