"""Write exported networks, faces and MXNet's embeddings of them for the tests of other programs, which lack mxnet.

    python -m tests.consumers.write_models FOLDER

The networks have random values, and batch norm statistics of faces: signals neither vanish nor grow, and embeddings of
two faces differ. The photographs are grey; they are tinted, so that swapped channels are seen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from config import resolve
from recognition.checkpoint.matching import set_parameters
from recognition.checkpoint.network import arrays_of, load_network, save_network
from recognition.data.images import channels_first
from recognition.data.orl import load_photographs
from recognition.export import Options, export_onnx
from symbols import get_block
from tests.conftest import random_values

import mxnet as mx

PRESETS = ('r18', 'r50', 'y1', 'd121')
FORMS = {
    f'{pixels}{"-fold" if fold else ""}': Options(fold=fold, pixels=pixels)
    for pixels in ('inside', 'outside')
    for fold in (False, True)
}
WIDTH = 0.25  # of the networks: a sixteenth of the arithmetic, the same layers
PEOPLE, CALIBRATED_ON, BATCH = range(1, 11), 20, 10
TINT = (1.0, 0.85, 0.7)


def faces():
    """Return 100 faces of ten people, uint8 RGB (100, 112, 112, 3)."""
    photographs = load_photographs(PEOPLE).reshape(-1, 112, 112, 1)
    return np.rint(photographs * np.array(TINT)).astype(np.uint8)


def calibrated(cfg, images):
    """Return a network with random values and the batch norm statistics of the images."""
    net, rng = get_block({**cfg, 'bn_mom': 0.0}), np.random.RandomState(1)
    shapes = {name: each.shape for name, each in net.collect_params().items() if each.grad_req != 'null'}
    set_parameters(net, {name: random_values(rng, name, shape) for name, shape in shapes.items()})
    for parameter in net.collect_params().values():
        if parameter._data is None:
            parameter.initialize()
    with mx.autograd.record():
        embeddings = net(mx.nd.array(channels_first(images)))
    embeddings.backward()  # mxnet moves the statistics here
    mx.nd.waitall()
    return net


def main(folder):
    """Write PRESET-FORM.onnx for each preset and form, and faces.npz with the faces and PRESET's embeddings."""
    images, embeddings = faces(), {}
    for preset in PRESETS:
        net, prefix = (
            calibrated(resolve(preset, net_multiplier=WIDTH), images[:CALIBRATED_ON]),
            folder / preset,
        )
        symbol = net(mx.sym.var('data'))
        save_network(prefix, 0, symbol, *arrays_of(net, symbol))
        loaded = load_network(prefix, 0, image_shape=(112, 112, 3))
        rows = [
            loaded(mx.nd.array(channels_first(images[start : start + BATCH]))).asnumpy()
            for start in range(0, len(images), BATCH)
        ]
        embeddings[preset] = np.concatenate(rows)
        for form, options in FORMS.items():
            export_onnx(prefix, 0, folder / f'{preset}-{form}.onnx', options=options)
    np.savez(folder / 'faces.npz', faces=images, **embeddings)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
