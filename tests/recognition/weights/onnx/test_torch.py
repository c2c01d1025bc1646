"""Files that PyTorch's two exporters write of arcface_torch's networks, read into networks here."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from recognition.weights.onnx.candidates import identify
from recognition.weights.onnx.reader import load_file, read_onnx
from symbols import get_block
from tests.helpers.iresnets import UNITS
from tests.helpers.onnx import rewritten as other
from tests.helpers.onnx.torch_networks import build_mobilefacenet
from tests.recognition.weights.test_arcface_torch_outputs import build_iresnet, randomise

import mxnet as mx

pytestmark = pytest.mark.torch

EMB = 64
LIMIT = 1e-5  # of the largest value
BUILD = {
    'iresnet18': lambda torch: build_iresnet(torch, UNITS['iresnet18'], EMB),
    'mbf': lambda torch: build_mobilefacenet(torch, EMB),
}
PRESET = {'iresnet18': 'r18', 'mbf': 'mbf'}
OLDER = [{'opset_version': opset, 'dynamo': False} for opset in range(11, 19)]
FORMS = [{**form, 'do_constant_folding': fold} for form in OLDER for fold in (True, False)]
FORMS += [{'opset_version': 18, 'dynamo': True, 'optimize': on, 'external_data': on} for on in (True, False)]
CASES = [('mbf', form) for form in FORMS]
CASES += [('iresnet18', form) for form in (FORMS[0], FORMS[13], FORMS[-2], FORMS[-1])]


@pytest.fixture(scope='module')
def make():
    """Return a function: name -> torch, the network, and images as it takes them."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(3)
    networks = {}

    def make_network(name):
        if name not in networks:
            net = BUILD[name](torch)
            if name == 'mbf':  # whose last batch norm is learned whole
                net[-1].weight.data.uniform_(0.5, 1.5)
            networks[name] = randomise(torch, net_with_conv1(net), torch.rand(3, 3, 112, 112) * 2 - 1)
        return torch, networks[name], torch.rand(1, 3, 112, 112) * 2 - 1

    return make_network


def net_with_conv1(net):
    """Give the first convolution the name by which `randomise` finds it."""
    if not hasattr(net, 'conv1'):
        object.__setattr__(net, 'conv1', net[0][0])
    return net


@pytest.mark.parametrize(('name', 'form'), CASES, ids=str)
def test_the_outputs_are_those_of_the_file(name, form, make, tmp_path):
    torch, net, images = make(name)
    path = tmp_path / 'net.onnx'
    torch.onnx.export(net, (images,), str(path), input_names=['data'], **form)
    network, settings = identify(load_file(path), {})
    cfg = resolve(network, **settings)
    assert (network, cfg.emb_size, cfg.bn_eps, cfg.input_scale) == (PRESET[name], EMB, 1e-5, 1 / 127.5)
    block = get_block(cfg)
    values = read_onnx(path, cfg)
    for parameter_name, parameter in block.collect_params().items():
        parameter._load_init(mx.nd.array(values[parameter_name]), mx.cpu())
    expected = other.run(path, images.numpy())
    found = block(mx.nd.array(images.numpy() * 127.5 + 127.5)).asnumpy()
    assert np.abs(found - expected).max() <= LIMIT * np.abs(expected).max()
    with torch.no_grad():
        own = net(images).numpy()
    assert np.abs(found - own).max() <= LIMIT * np.abs(own).max()
