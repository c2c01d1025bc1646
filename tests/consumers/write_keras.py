"""Write Keras files of every preset of Keras, images and MXNet's probabilities for the tests with Keras itself.

python -m tests.consumers.write_keras FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from config import resolve
from config.preprocessing import MODES
from recognition.checkpoint.network import arrays_of, load_network, save_network
from recognition.checkpoint.run_files import write_json
from recognition.data.images import channels_first
from recognition.export import export_keras
from recognition.utils.run_paths import config_path
from tests.consumers.write_models import calibrated

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


def main(folder):
    """Write NAME.keras and NAME.weights.h5, and keras.npz with the images and MXNet's outputs by NAME."""
    images = np.random.RandomState(5).randint(0, 256, (2, *SHAPE)).astype(np.uint8)
    outputs = {}
    for name, (mode, settings) in NETWORKS.items():
        cfg = resolve(name.partition('-')[0], image_shape=SHAPE, **MODES[mode], **settings)
        net, prefix = calibrated(cfg, images), folder / name
        symbol = net(mx.sym.var('data'))
        save_network(prefix, 0, symbol, *arrays_of(net, symbol))
        write_json(config_path(prefix), cfg)
        output = load_network(prefix, 0, image_shape=SHAPE)(mx.nd.array(channels_first(images)))
        outputs[name] = (mx.nd.softmax(output) if not settings else output).asnumpy()
        for suffix in ('.keras', '.weights.h5'):
            export_keras(prefix, 0, folder / f'{name}{suffix}')
    modes = {f'mode {name}': mode for name, (mode, _) in NETWORKS.items()}
    np.savez(folder / 'keras.npz', images=images, **outputs, **modes)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
