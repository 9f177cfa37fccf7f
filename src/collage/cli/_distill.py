"""`collage distill --single my.onnx --images DIR`: a collage-cnn for any classifier, taught by it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import typer

from collage.exceptions import SettingsError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("distill")(distill)


def distill(
    single: str = typer.Option(..., help="ONNX file of the classifier (or a card, or a shipped model's name)."),
    images: Path = typer.Option(..., help="Folder of images; with train/ and test/ in it, these are the splits."),
    labels: bool = typer.Option(False, "--labels/--no-labels", help="The folder has one sub-folder a class."),
    grid: int = typer.Option(3, min=2, max=5, help="Tiles a side."),
    out: Path | None = typer.Option(None, help="Folder for the model and its report  [default: the single's]"),
    run: Path | None = typer.Option(None, help="Folder to go on from after a stop  [default: runs/<name>]"),
    name: str | None = typer.Option(None, help="Of the collage-cnn  [default: <single>-collage-<grid>x<grid>]"),
    minutes: float = typer.Option(60.0, min=0.01, help="Time limit, asking the single included."),
    cost: float = typer.Option(1.0, min=0.01, help="Most multiply-accumulates of a collage, over a single call."),
    tile: int | None = typer.Option(None, min=4, help="Side of a tile, pixels  [default: by the single's size]"),
    limit: int | None = typer.Option(None, min=4, help="Use only so many training images."),
    flip: bool = typer.Option(True, "--flip/--no-flip", help="Mirrored images are of the same class."),
    epochs: int = typer.Option(1000, min=1, help="Evaluations at most, whatever the time."),
    give_up: int = typer.Option(8, min=1, help="Evaluations without a gain, after which it comes to its end."),
    seed: int = typer.Option(0),
    threads: int | None = typer.Option(None, min=1, help="Processor threads of each process  [default: all cores]"),
    device: str | None = typer.Option(None, help="cpu, cuda or cuda:N  [default: a GPU where CUDA finds one]"),
    processes: int = typer.Option(1, min=1, help="That train, on this machine; more by torchrun (docs/fleet.md)."),
    facts: Path | None = typer.Option(
        None, "--facts", help="TOML or JSON file that says what the options below do  [default: my.toml beside my.onnx]"
    ),
    classes: Path | None = typer.Option(None, help="Names in the order of the outputs: one a line, or a JSON list."),
    size: int | None = typer.Option(None, min=1, help="Side of the single's input  [default: as the file says]"),
    resize: int | None = typer.Option(None, min=1, help="Shorter side before the crop  [default: the size]"),
    mean: str | None = typer.Option(None, help="Of pixels scaled to 0..1, one number a channel: 0.485,0.456,0.406"),
    std: str | None = typer.Option(None, help="As mean."),
    interpolation: str | None = typer.Option(None, help="nearest, box, bilinear, bicubic or lanczos"),
    output: str | None = typer.Option(None, help="logits or probabilities  [default: seen from its answers]"),
) -> None:
    """Make a collage-cnn for your own classifier, ready for 'collage serve'. The classifier teaches; labels help.

    Ctrl-C or a kill loses little: the same command goes on where it stopped.
    """
    from rich.console import Console

    from collage.cli._bars import progress_bars
    from collage.cli._processes import device_for, together
    from collage.training import DistillRequest, SingleFacts, read_classes, read_facts
    from collage.training import distill as run_distill
    from collage.zoo import load_model

    at = device_for(device, processes)
    folder = run or Path("runs") / (name or f"{Path(single).stem}-collage-{grid}x{grid}")
    with together(processes, threads, folder) as (team, stop):
        given = {
            "size": size,
            "resize": resize,
            "mean": _numbers("mean", mean),
            "std": _numbers("std", std),
            "interpolation": interpolation,
            "output": output,
            "classes": read_classes(classes) if classes else None,
        }
        beside = facts or (Path(single).with_suffix(".toml") if Path(single).with_suffix(".toml").is_file() else None)
        said = read_facts(beside) if beside else SingleFacts()
        path = team.tell(
            lambda: str(_load_single(single, images, out, labels, said, given, told_by=facts is not None).path)
        )
        model = load_model(path)
        request = DistillRequest(
            name=name or f"{model.card.name}-collage-{grid}x{grid}",
            images=images,
            labels=labels,
            grid=grid,
            minutes=minutes,
            cost=cost,
            tile=tile,
            limit=limit,
            flip=flip,
            epochs=epochs,
            give_up=give_up,
            seed=seed,
        )
        folder, target = run or Path("runs") / request.name, out or model.path.parent
        console = Console(quiet=not team.first)
        with progress_bars(console) as told:
            backup, summary = run_distill(
                model,
                request,
                folder,
                target,
                told=told,
                say=console.print,
                command=_command(model, request),
                device=at,
                team=team,
                stop=stop,
            )
    console.print(_words(summary))
    console.print(f"{backup.path}: ready. The report: {target / request.name / 'report.md'}")
    console.print(f"collage serve --single {model.path} --backup {backup.path}", soft_wrap=True)


def _load_single(
    single: str, images: Path, out: Path | None, labels: bool, facts: Any, given: dict[str, Any], *, told_by: bool
) -> Any:
    """The single with its card: its own, or one written now from what the file, the facts and the options say."""
    from collage.data import class_folders
    from collage.training import bring_single
    from collage.zoo import load_model

    path = Path(single)
    if path.suffix != ".onnx" or path.with_suffix(".json").is_file() or not path.is_file():
        model = load_model(single)
        # What it says already may be said again: the same command goes on, and its first run wrote the card.
        named = [f"--{name}" for name, value in given.items() if value is not None and not _says(model, name, value)]
        told = {name: getattr(facts, name) for name in facts.model_fields_set & given.keys()} if told_by else {}
        named += ["--facts"] * any(value is not None and not _says(model, name, value) for name, value in told.items())
        if named:
            raise SettingsError(f"{', '.join(named)}: {model.path.with_suffix('.json')} says already what {single} is")
        return model
    folders = class_folders(images) if labels else None
    return bring_single(path, facts.changed(**given), out or path.parent, folders=folders, dataset=images.name)


def _says(model: Any, name: str, value: Any) -> bool:
    """Does the model's card say this of it? One number stands for all channels."""
    card = model.card
    own = getattr(card if name in ("output", "classes") else card.preprocessing, name)
    if isinstance(value, tuple) and len(value) == 1:
        value *= len(own)
    return bool(own == value or (isinstance(value, tuple) and tuple(own) == value))


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(f"{name}: {text!r}; numbers with commas between them are needed") from error


def _command(model: Any, request: Any) -> str:
    """For the card: file names only, as folders are nobody else's business."""
    words = ["collage", "distill", "--single", model.path.name, "--images", request.images.name]
    words += ["--labels"] if request.labels else []
    words += ["--grid", str(request.grid), "--minutes", f"{request.minutes:g}", "--cost", f"{request.cost:g}"]
    for option in ("tile", "limit"):
        if (value := getattr(request, option)) is not None:
            words += [f"--{option}", str(value)]
    return shlex.join(words + ["--seed", str(request.seed)] + ([] if request.flip else ["--no-flip"]))


def _words(summary: dict[str, Any]) -> str:
    time, ratio = summary["latency_ratio"]["median"], summary["macs_ratio"]
    accuracy = ""
    if summary["labels"]:
        accuracy = (
            f"A_a {summary['a_a']:.2%}, A_d {summary['a_d']:.2%}: {summary['points_below_single']:.2f} points below; "
        )
    cost = "" if ratio is None else f"{ratio:.3f} of a single call's multiply-accumulates, "
    return (
        f"{accuracy}the single's own answer for {summary['agreement']:.2%} of {summary['test_images']:,} images;"
        f" {cost}{time:.3f} of its time"
    )
