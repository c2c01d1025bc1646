"""The options of commands that verify a network, and how the given ones embed."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Callable, NamedTuple

import numpy as np

from config.checks import EMBEDDING
from config.errors import ConfigError
from recognition.cli.parser import Parser
from recognition.cli.pixel_options import add_pixel_options, given_pixels
from recognition.cli.standard_options import add_batch_size, add_gpus, add_mirror, add_output_layer
from recognition.data.images import to_grey
from recognition.engines.base import Shape, Wanted
from recognition.engines.model import Model
from recognition.engines.pixel_rules import settle
from recognition.engines.record import checkpoint_record, shape_of

Embed = Callable[[np.ndarray], np.ndarray]  # uint8 RGB (N, 3, H, W) -> float32 (N, D) of length 1
ENGINES = {'onnx': 'onnxruntime', 'ncnn': 'ncnn'}  # by the kind of file; a checkpoint is run by MXNet


def add_verify_options(parser: Parser) -> None:
    """Add --batch-size, --gpus, --mirror, --output-layer and those on pixels, which `open_network` reads."""
    add_batch_size(parser)
    add_gpus(parser)
    add_mirror(parser)
    add_output_layer(parser)
    add_pixel_options(parser)


class Network(NamedTuple):
    """A network that is ready to embed: the function, and the (H, W, C) of its images."""

    embed: Embed
    image_shape: Shape


def check_model(model: Model) -> None:
    """Raise CheckpointError where a file of a network is missing, ConfigError for a checkpoint of another kind."""
    model.check_files()
    if model.kind == 'checkpoint':
        checkpoint_record(model.path).check_kind(EMBEDDING, model)


def open_network(model: Model, args: argparse.Namespace, image_size: Wanted, stack: ExitStack) -> Network:
    """Return what embeds images, each with its mirror image.

    image_size: (height, width, channels or None) of them; None leaves it to what the network's files record. stack:
    ends what the network runs in. Raises ConfigError for a network of another size, and for a file of one that is known
    to give no embeddings; CheckpointError for one that is damaged.
    """
    pixels = given_pixels(args)
    if model.kind != 'checkpoint':
        if args.gpus:
            raise ConfigError(f'--gpus is for checkpoints, which MXNet runs; {model} runs on the CPU')
        from recognition.embed import Embedder

        embedder = Embedder.load(
            model.files[0],
            ENGINES[model.kind],
            mirror=args.mirror,
            resize=False,
            batch_size=args.batch_size,
            image_shape=image_size,
            output_layer=args.output_layer,
            pixels=pixels,
        )
        stack.enter_context(embedder)
        return Network(lambda images: embedder(images.transpose(0, 2, 3, 1)), embedder.image_shape)
    model = settle(model._replace(output=args.output_layer, pixels=pixels), faces=True).model
    from recognition.checkpoint import load_network
    from recognition.verification import embed
    from symbols.context import select_context

    shape = shape_of(model, image_size)
    ctx = select_context(args.gpus)[0]
    net = load_network(model.path, model.epoch, ctx, image_shape=shape, output=model.output)
    return Network(
        lambda images: embed(net, _planes(images, shape[2]), ctx, args.batch_size, flip=args.mirror), shape
    )


def _planes(images: np.ndarray, channels: int) -> np.ndarray:
    """Return RGB images (N, 3, H, W) as a network of so many channels takes them."""
    if channels == images.shape[1]:
        return images
    return np.stack([to_grey(image.transpose(1, 2, 0)).transpose(2, 0, 1) for image in images])
