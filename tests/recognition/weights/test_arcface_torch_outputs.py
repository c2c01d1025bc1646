"""Beside PyTorch itself: files that torch.save wrote, and the embeddings of arcface_torch's ResNets."""

from __future__ import annotations

import numpy as np
import pytest

from config import CheckpointError, resolve
from recognition.checkpoint.matching import load_weights
from recognition.weights.arcface_torch import (
    PRESETS,
    SETTINGS,
    read_arcface_torch,
    settings_for,
    write_arcface_torch,
)
from recognition.weights.torch.state_dict import read_state_dict
from recognition.weights.torch.writer import write_state_dict
from symbols import get_block
from tests.helpers.iresnets import UNITS

import mxnet as mx

pytestmark = pytest.mark.torch

EMB = 64
OLDER = {'_use_new_zipfile_serialization': False}
TYPES = (
    'float32',
    'float64',
    'float16',
    'bfloat16',
    'int64',
    'int32',
    'int16',
    'int8',
    'uint8',
    'bool',
)


@pytest.fixture(scope='module')
def torch():
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(3)
    return torch


def build_iresnet(torch, units, emb_size):
    """Return the improved residual network of the ArcFace paper (section 3.1), its layers named as arcface_torch's."""
    nn = torch.nn

    class Unit(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            self.bn1 = nn.BatchNorm2d(inputs)
            self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.prelu = nn.PReLU(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
            self.bn3 = nn.BatchNorm2d(width)
            shortcut = [nn.Conv2d(inputs, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)]
            self.downsample = nn.Sequential(*shortcut) if stride == 2 else None

        def forward(self, x):
            y = self.conv1(self.bn1(x))
            y = self.bn3(self.conv2(self.prelu(self.bn2(y))))
            return y + (self.downsample(x) if self.downsample else x)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.prelu = nn.PReLU(64)
            inputs = 64
            for stage, (count, width) in enumerate(zip(units, (64, 128, 256, 512)), start=1):
                first = Unit(inputs, width, 2)
                others = (Unit(width, width, 1) for _ in range(count - 1))
                self.add_module(f'layer{stage}', nn.Sequential(first, *others))
                inputs = width
            self.bn2 = nn.BatchNorm2d(512)
            self.fc = nn.Linear(512 * 7 * 7, emb_size)
            self.features = nn.BatchNorm1d(emb_size)

        def forward(self, x):
            x = self.prelu(self.bn1(self.conv1(x)))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.features(self.fc(self.bn2(x).flatten(1)))

    return Network()


def randomise(torch, net, images):
    """Give every parameter values that tell it from others, and the batch norms the statistics of the images."""
    for name, value in net.named_parameters():
        if value.ndim > 1:
            torch.nn.init.normal_(value, 0, (2 / value[0].numel()) ** 0.5)
        elif name.endswith('bias'):
            torch.nn.init.normal_(value, 0, 0.1)
        elif name != 'features.weight':
            torch.nn.init.uniform_(value, 0.1, 1.1)
    with torch.no_grad():
        net.conv1.weight *= 0.02  # small variances, to which eps matters
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(images)
    return net.eval()


@pytest.fixture(scope='module')
def make_torch_network(torch):
    """Return a function: name -> the network in torch, images in 0..255, and its embeddings of them."""
    networks = {}

    def make(name):
        if name not in networks:
            networks.clear()  # hundreds of megabytes
            images = np.random.RandomState(7).uniform(0, 255, (2, 3, 112, 112)).astype(np.float32)
            pixels = torch.from_numpy((images - 127.5) / 127.5)
            others = torch.rand(3, 3, 112, 112) * 2 - 1
            net = randomise(torch, build_iresnet(torch, UNITS[name], EMB), others)
            with torch.no_grad():
                networks[name] = net, images, net(pixels).numpy()
        return networks[name]

    yield make
    networks.clear()


def embed(path, preset, images):
    cfg = resolve(preset, emb_size=EMB, **settings_for(int(preset[1:])))
    values = read_arcface_torch(path, cfg)
    net = get_block(cfg)
    load_weights(net, values)
    net.hybridize()
    return net(mx.nd.array(images)).asnumpy()


def check_embeddings(path, preset, images, expected, tolerance=1e-4):
    found = embed(path, preset, images)
    path.unlink()  # hundreds of megabytes
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize('name', UNITS)
def test_embeddings_of_every_depth(tmp_path, torch, make_torch_network, name):
    net, images, expected = make_torch_network(name)
    path = tmp_path / 'backbone.pth'
    torch.save(net.state_dict(), path)
    check_embeddings(path, PRESETS[name], images, expected)


def training_checkpoint(torch, net):
    """Return what arcface_torch saves of a training process, after one step."""
    optimiser = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=9)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    schedule.step()
    return {
        'epoch': 1,
        'global_step': 7,
        'state_dict_backbone': net.state_dict(),
        'state_dict_softmax_fc': {'weight': torch.zeros(10, EMB)},
        'state_optimizer': optimiser.state_dict(),
        'state_lr_scheduler': schedule.state_dict(),
    }


FORMS = {
    'older': (lambda torch, net: net.state_dict(), OLDER),
    'protocol 4': (lambda torch, net: net.state_dict(), {'pickle_protocol': 4}),
    'protocol 5': (lambda torch, net: net.state_dict(), {'pickle_protocol': 5}),
    'older, protocol 4': (lambda torch, net: net.state_dict(), {**OLDER, 'pickle_protocol': 4}),
    'parameters': (lambda torch, net: net.state_dict(keep_vars=True), {}),
    'parallel': (lambda torch, net: torch.nn.DataParallel(net).state_dict(), {}),
    'training': (training_checkpoint, {}),
    'training, older': (training_checkpoint, OLDER),
}


@pytest.mark.parametrize('form', FORMS)
def test_forms_of_the_file(tmp_path, torch, make_torch_network, form):
    net, images, expected = make_torch_network('iresnet18')
    content, options = FORMS[form]
    path = tmp_path / 'backbone.pt'
    torch.save(content(torch, net), path, **options)
    check_embeddings(path, 'r18', images, expected)


@pytest.mark.parametrize(('dtype', 'tolerance'), [('float64', 1e-4), ('float16', 0.02), ('bfloat16', 0.1)])
def test_other_floating_point_numbers(tmp_path, torch, make_torch_network, dtype, tolerance):
    """The embeddings are those of the values that the file holds; against float32 they differ by its precision."""
    net, images, expected = make_torch_network('iresnet18')
    held = {
        name: v.to(getattr(torch, dtype)) if v.is_floating_point() else v
        for name, v in net.state_dict().items()
    }
    path = tmp_path / 'backbone.pt'
    torch.save(held, path)
    copy = build_iresnet(torch, UNITS['iresnet18'], EMB).eval()
    copy.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in held.items()})
    with torch.no_grad():
        own = copy(torch.from_numpy((images - 127.5) / 127.5)).numpy()
    assert np.abs(own - expected).max() <= tolerance * np.abs(expected).max()
    check_embeddings(path, 'r18', images, own)


def test_a_wrong_eps_or_scale_would_be_seen(tmp_path, torch, make_torch_network):
    """The comparison is sharp enough for what sets these networks apart from InsightFace's of MXNet."""
    net, images, expected = make_torch_network('iresnet18')
    path = tmp_path / 'backbone.pt'
    torch.save(net.state_dict(), path)
    values = read_arcface_torch(path, resolve('r18', emb_size=EMB, **SETTINGS))
    path.unlink()
    for change in ({'input_scale': 0.0078125}, {'bn_eps': 2e-5}):
        block = get_block(resolve('r18', emb_size=EMB, **{**SETTINGS, **change}))
        load_weights(block, values)
        difference = np.abs(block(mx.nd.array(images)).asnumpy() - expected).max()
        assert difference > 2e-4 * np.abs(expected).max()


@pytest.mark.parametrize('options', [{}, OLDER], ids=['zip', 'older'])
def test_tensors_of_every_kind(tmp_path, torch, options):
    whole = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    state = {
        'whole': whole,
        'permuted': whole.permute(2, 0, 1),
        'part': whole[1:, ::2, 3],
        'of a part': whole[1][2][1:],
        'expanded': torch.ones(3, 1).expand(3, 7),
        'one': torch.tensor(2.5),
        'none': torch.empty(0, 3),
        'parameter': torch.nn.Parameter(torch.randn(2, 2)),
        'channels last': torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        **{name: torch.tensor([0, 1, 3, 1]).to(getattr(torch, name)) for name in TYPES},
    }
    path = tmp_path / 'state.pt'
    torch.save(state, path, **options)
    found = read_state_dict(path)
    assert list(found) == list(state)
    for name, value in state.items():
        expected = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
        np.testing.assert_array_equal(found[name], expected.numpy())
        assert found[name].dtype == expected.numpy().dtype


def test_a_whole_module_is_refused(tmp_path, torch):
    path = tmp_path / 'model.pt'
    torch.save(torch.nn.Linear(2, 3), path)
    with pytest.raises(
        CheckpointError, match=r"refused: it wants to run 'torch\.nn\.modules\.linear\.Linear'"
    ):
        read_state_dict(path)


@pytest.mark.parametrize('name', UNITS)
def test_what_is_written_is_loaded_strictly_and_computes_the_same(tmp_path, torch, make_network, name):
    """InsightFace's settings of MXNet, eps 2e-5 and 1 / 128, come to arcface_torch's numbers."""
    depth = settings_for(int(PRESETS[name][1:])).get('num_layers', int(PRESETS[name][1:]))
    cfg = resolve(PRESETS[name], emb_size=EMB, num_layers=depth, bn_mom=0)
    images = np.random.RandomState(7).uniform(0, 255, (2, 3, 112, 112)).astype(np.float32)
    net = make_network(cfg)
    expected = net(mx.nd.array(images)).asnumpy()
    values = {key: parameter.data().asnumpy() for key, parameter in net.collect_params().items()}
    del net  # each copy of the largest is 400 MB
    write_arcface_torch(tmp_path / 'backbone.pth', values, cfg)
    del values
    theirs = build_iresnet(torch, UNITS[name], EMB).eval()
    for weights_only in (True, False):
        state = torch.load(tmp_path / 'backbone.pth', weights_only=weights_only)
        theirs.load_state_dict(state, strict=True)
        assert list(state) == list(theirs.state_dict())
        del state
    (tmp_path / 'backbone.pth').unlink()
    with torch.no_grad():
        found = theirs(torch.from_numpy((images - 127.5) / 127.5)).numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_file_that_is_loaded_lazily(tmp_path, torch):
    arrays = {'w': np.arange(6, dtype=np.float32).reshape(2, 3), 'n': np.array(3, np.int64)}
    write_state_dict(tmp_path / 'a.pth', arrays, {'facesymbols/x': b'123'})
    found = torch.load(tmp_path / 'a.pth', weights_only=True, mmap=True)
    assert {name: value.numpy().tolist() for name, value in found.items()} == {
        'w': [[0, 1, 2], [3, 4, 5]],
        'n': 3,
    }
