"""The options of commands that verify a network, and how the given ones embed."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Callable, Sequence

import numpy as np

from config.errors import ConfigError
from recognition.cli.parser import Parser
from recognition.cli.standard_options import add_batch_size, add_gpus, add_mirror
from recognition.engines.model import Model

Embed = Callable[[np.ndarray], np.ndarray]  # uint8 RGB (N, 3, H, W) -> float32 (N, D) of length 1
ENGINES = {'onnx': 'onnxruntime', 'ncnn': 'ncnn'}  # by the kind of file; a checkpoint is run by MXNet


def add_verify_options(parser: Parser) -> None:
    """Add --batch-size, --gpus and --mirror, which `open_network` reads."""
    add_batch_size(parser)
    add_gpus(parser)
    add_mirror(parser)


def open_network(
    model: Model, args: argparse.Namespace, image_size: Sequence[int], stack: ExitStack
) -> Embed:
    """Return a function that embeds images of `image_size` (height, width), each with its mirror image.

    stack: ends what the network runs in. Raises CheckpointError for a network that is damaged or of another size.
    """
    height, width = image_size[:2]
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
            image_shape=(height, width, 3),
        )
        stack.enter_context(embedder)
        return lambda images: embedder(images.transpose(0, 2, 3, 1))

    from recognition.checkpoint import load_network
    from recognition.verification import embed
    from symbols.context import select_context

    ctx = select_context(args.gpus)[0]
    net = load_network(model.path, model.epoch, ctx, image_shape=(height, width, 3))
    return lambda images: embed(net, images, ctx, args.batch_size, flip=args.mirror)
