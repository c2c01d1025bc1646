"""Write Keras files of every preset of Keras, images and MXNet's probabilities for the tests with Keras itself.

python -m tests.consumers.write_keras FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from config import resolve
from config.preprocessing import MODES
from recognition.checkpoint.matching import set_parameters
from recognition.checkpoint.network import arrays_of, load_network, save_network
from recognition.checkpoint.run_files import write_json
from recognition.data.images import channels_first
from recognition.export import export_keras
from recognition.utils.run_paths import config_path
from symbols import get_block
from tests.conftest import random_values

import mxnet as mx

SHAPE = (112, 112, 3)
# Presets, the mode of Keras's preprocess_input for each, and further settings; of the second rows without the top.
NETWORKS = {
    'keras_densenet121': ('torch', {}),
    'keras_densenet169': ('torch', {}),
    'keras_densenet201': ('torch', {}),
    'keras_resnet50': ('caffe', {}),
    'keras_resnet50_elu': ('caffe', {}),
    'keras_xception': ('tf', {}),
    'article_xception': ('tf', {}),
    'keras_densenet121-pool': ('torch', {'net_output': 'pool'}),
    'keras_resnet50-map': ('caffe', {'net_output': 'map'}),
}


def calibrated(cfg, images):
    """Return a network with random values and the batch norm statistics of the images."""
    net, rng = get_block({**cfg, 'bn_mom': 0.0}), np.random.RandomState(1)
    shapes = {name: each.shape for name, each in net.collect_params().items() if each.grad_req != 'null'}
    set_parameters(net, {name: random_values(rng, name, shape) for name, shape in shapes.items()})
    for parameter in net.collect_params().values():
        if parameter._data is None:
            parameter.initialize()
    with mx.autograd.record():
        output = net(images)
    output.backward()  # mxnet moves the statistics here
    mx.nd.waitall()
    return net


def main(folder):
    """Write NAME.keras and NAME.weights.h5, and keras.npz with the images and MXNet's outputs by NAME."""
    images = np.random.RandomState(5).randint(0, 256, (2, *SHAPE)).astype(np.uint8)
    data, outputs = mx.nd.array(channels_first(images)), {}
    for name, (mode, settings) in NETWORKS.items():
        cfg = resolve(name.partition('-')[0], image_shape=SHAPE, **MODES[mode], **settings)
        net, prefix = calibrated(cfg, data), folder / name
        symbol = net(mx.sym.var('data'))
        save_network(prefix, 0, symbol, *arrays_of(net, symbol))
        write_json(config_path(prefix), cfg)
        output = load_network(prefix, 0, image_shape=SHAPE)(data)
        outputs[name] = (mx.nd.softmax(output) if not settings else output).asnumpy()
        for suffix in ('.keras', '.weights.h5'):
            export_keras(prefix, 0, folder / f'{name}{suffix}')
    modes = {f'mode {name}': mode for name, (mode, _) in NETWORKS.items()}
    np.savez(folder / 'keras.npz', images=images, **outputs, **modes)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
