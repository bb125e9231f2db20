"""``vidtok convert``: public weights to a vidtok checkpoint folder."""

from typing import Annotated, Literal

import typer

from vidtok.outputs import check_writable

Text = str | None


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="weight file, folder or hf://org/name[@revision]")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="folder to write; absent or empty")],
    backbone: Annotated[Text, typer.Option(help="family that an image ViT becomes, such as vivit_fe")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="frames per clip; positions are resized")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="side of the crop [pixels]; positions are resized")] = None,
    tubelet: Annotated[int | None, typer.Option(min=1, help="tubelet depth [frames]; the kernel is inflated")] = None,
    inflate: Annotated[Literal["central", "average"], typer.Option(help="how an image kernel is inflated")] = "central",
    num_classes: Annotated[int | None, typer.Option(min=1, help="classes; another number gives a new head")] = None,
    classes: Annotated[
        Text, typer.Option(help="file with one class name a line, or a list: kinetics400, ssv2, ucf101")
    ] = None,
    source_format: Annotated[Text, typer.Option("--format", help="kind of source, where it is not recognised")] = None,
    weights: Annotated[
        Text, typer.Option(help="entry of a training file to take, such as model_ema; ema: its moving average")
    ] = None,
    source_frames: Annotated[int | None, typer.Option(min=1, help="frames that the source was trained on")] = None,
    source_family: Annotated[Text, typer.Option(help="family of the source, where its tensors fit two")] = None,
    num_heads: Annotated[int | None, typer.Option(min=1, help="attention heads of the source")] = None,
    preset: Annotated[Text, typer.Option(help="colours that the source was trained on: half or imagenet")] = None,
    channel_order: Annotated[Text, typer.Option(help="colour order that the source was trained on: rgb or bgr")] = None,
) -> None:
    """Turn public weights into a checkpoint folder; prints what became of every tensor.

    Reads HF ViViT, TimeSformer, VideoMAE and ViT, official TimeSformer and VideoMAE, mmaction2 TimeSformer, timm,
    DeiT and EViT, scenic ViViT and Google's ViT. Exits with 4 when a tensor cannot be accounted for.
    """
    from vidtok.data.labels import find_class_names
    from vidtok.models.pretrained import convert as run

    check_writable(out)
    names = find_class_names(classes) if classes else None
    report = run(
        source,
        out,
        backbone=backbone,
        num_frames=frames,
        image_size=size,
        tubelet=tubelet,
        inflate=inflate,
        num_classes=num_classes,
        class_names=names,
        source_format=source_format,
        weights=weights,
        source_frames=source_frames,
        source_family=source_family,
        num_heads=num_heads,
        preset=preset,
        channel_order=channel_order,
    )
    print(report.table())
