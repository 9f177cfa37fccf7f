"""A finished training -> an ONNX file and its card."""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import onnxscript.optimizer
import torch
from torch import nn

from collage.data import open_dataset
from collage.dispatch import Role
from collage.exceptions import ModelError
from collage.nets import LearnedNet, TileNet, YoloNet, count_macs, count_params
from collage.training._bond import must_belong
from collage.training._quantise import store_half
from collage.training._run import make_net
from collage.training._settings import TrainingSettings
from collage.zoo import Cost, LoadedModel, ModelCard, SecondFile, Split, load_model

_OPSET = 20  # the first with GELU as one operator: a fifth of a small tile's time when it is five


def export_model(
    folder: Path,
    out: Path,
    *,
    single: LoadedModel | None = None,
    kind: Role | None = None,
    grid: int | None = None,
    half: bool = False,
    command: str = "",
) -> LoadedModel:
    """Write `out/<name>.onnx` and `out/<name>.json` from a training's folder; returns the model as the zoo loads it.

    The averaged weights are taken; `half` stores them at half precision: half the file. A backup is bound to `single`
    by hash; `command` is for the card. Raises ModelError where the folder holds no training, or a backup's single is
    not given or is another than it was trained for.

    kind: a tile-isolated collage-cnn may also become a `batch` of its tiles, or a `cheap` single, with the same
    weights; the kind is then added to its name. With `grid`, 2 to 5, it serves another grid than it was trained with,
    for that grid's cost. Raises ModelError for any other model, kind or grid.
    """
    settings, net, classes = load_net(folder)
    trained = settings.model.grid
    role, grid, k = settings.model.role, grid or trained, settings.model.k
    name, net_settings = settings.model.name, settings.model.net.model_dump(mode="json")
    unknown = role is Role.COLLAGE and not isinstance(net, YoloNet)
    if grid is not None and grid != trained:
        if not isinstance(net, TileNet) or not 2 <= grid <= 5:
            raise ModelError(f"{name}: only a collage-cnn of the family 'tiles' serves other grids, from 2 to 5")
        net.grid = grid
        name = f"{name}-at-{grid}x{grid}"
    if kind is not None and kind is not role:
        if not isinstance(net, TileNet) or grid is None or kind not in (Role.BATCH, Role.CHEAP):
            raise ModelError(f"{name}: only a collage-cnn of the family 'tiles' can be a batch or a cheap, and no more")
        role, name, net_settings, unknown = kind, f"{name}-{kind}", net_settings["backbone"], kind is Role.BATCH
        net = net.backbone if unknown else without_unknown(net.backbone)
        k = grid * grid if unknown else None
        grid = None
    if role is Role.SINGLE:
        single = None
    elif single is None:
        raise ModelError(f"{settings.model.name} is a backup: name the single that taught it")
    else:
        must_belong(folder, settings.model.name, single)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.onnx"
    shape = _input_shape(settings, grid)
    decoder = None
    base = single.card.cost if single is not None else None
    if isinstance(net, LearnedNet):
        decoder = SecondFile(file=f"{settings.model.name}-decoder.onnx", sha256="0" * 64)
        inputs = (1, (net.decoder.k + 1) * len(classes))
        write_onnx(net.encoder, path, shape, input_name="images", output_name="image")
        write_onnx(net.decoder, out / decoder.file, inputs, input_name="outputs")
        decoder.sha256 = hashlib.sha256((out / decoder.file).read_bytes()).hexdigest()
        # A call is the encoder's, the single's and the decoder's.
        macs = count_macs(net.encoder, shape) + count_macs(net.decoder, inputs) + (base.macs if base else 0)
    else:
        write_onnx(net, path, shape, input_name="collage" if role is Role.COLLAGE else "images")
        macs = count_macs(net, (k if role is Role.BATCH and k else 1, *shape[1:]))
    output = "logits" if single is None or role is Role.LEARNED else single.card.output
    if output == "probabilities" and role is not Role.PARITY:
        _end_in_softmax(path)
    if half:
        store_half(path, path)
    card = ModelCard(
        name=name,
        role=role,
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        preprocessing=settings.preprocessing,
        classes=classes,
        grid=grid,
        unknown=unknown,
        head="boxes" if isinstance(net, YoloNet) else "classes",
        isolated=isinstance(net, TileNet),
        k=k,
        encoder=settings.model.encoder,
        decoder=decoder,
        output=output,
        single_sha256=single.card.sha256 if single is not None else None,
        net=net_settings,
        dataset=settings.data.name,
        split=Split(images=settings.data.validation, seed=settings.data.split_seed, limit=settings.data.limit),
        licence=settings.model.licence,
        command=command,
        cost=Cost(macs=macs, params=count_params(net), macs_ratio=round(macs / base.macs, 4) if base else None),
    )
    path.with_suffix(".json").write_text(card.model_dump_json(indent=2) + "\n")
    return load_model(str(path.with_suffix(".json")))


def load_net(folder: Path) -> tuple[TrainingSettings, nn.Module, list[str]]:
    """Settings, net with its averaged weights (eval mode), and class names. Raises ModelError without a checkpoint."""
    checkpoint = folder / "checkpoint.pt"
    if not checkpoint.exists():
        raise ModelError(f"{folder}: no checkpoint.pt in it; give the folder of a training")
    settings = TrainingSettings.model_validate_json((folder / "settings.json").read_text())
    classes = settings.data.classes or open_dataset(settings.data.dataset).classes
    net = make_net(settings, len(classes))
    net.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return settings, net.eval(), classes


def without_unknown(net: nn.Module) -> nn.Module:
    """A copy of a net whose last linear layer has lost its last output, "nothing to see here"."""
    net = copy.deepcopy(net)
    head = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
    head.out_features -= 1
    head.weight = nn.Parameter(head.weight[:-1].detach())
    if head.bias is not None:
        head.bias = nn.Parameter(head.bias[:-1].detach())
    return net


def _input_shape(settings: TrainingSettings, grid: int | None) -> tuple[int, int, int, int]:
    """(1, C, H, W) of the net's input: an image, a whole canvas, or the k images of a learned code, (1, k*C, H, W)."""
    side = settings.preprocessing.size * (grid or 1)
    images = settings.model.k if settings.model.role is Role.LEARNED else None
    return 1, settings.preprocessing.channels * (images or 1), side, side


def write_onnx(
    net: nn.Module, path: Path, shape: tuple[int, ...], *, input_name: str, output_name: str = "logits"
) -> None:
    """Export with a free batch axis. Notes that name this machine's files are left out.

    Weights keep the names and values that they have in the net, so that `net_from_model` finds them: norms stay beside
    their convolutions, and ONNX Runtime joins them as it loads the file.
    """
    example = torch.zeros(2, *shape[1:])  # a batch of 1 would be taken for a fixed axis
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own internals
        program: Any = torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=_OPSET,
            optimize=False,
            verbose=False,
        )
    onnxscript.optimizer.fold_constants(program.model, onnx_shape_inference=True, should_fold=_keep_weights)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output,
                 *model.graph.value_info, *model.graph.initializer):  # fmt: skip
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _keep_weights(node: Any) -> bool | None:
    """A turned weight would be another weight, under another name; None: what is usual."""
    return False if node.op_type == "Transpose" else None


def _end_in_softmax(path: Path) -> None:
    """Give probabilities instead of logits: of all of a tile's outputs, "nothing to see here" among them."""
    model = onnx.load(str(path))
    output = model.graph.output[0]
    model.graph.node.append(onnx.helper.make_node("Softmax", [output.name], ["probabilities"], axis=-1))
    output.name = "probabilities"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
