"""The importer on weights of arcface_torch."""

from __future__ import annotations

import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError
from recognition.checkpoint.matching import set_parameters
from recognition.checkpoint.network import load_embedding, wrap_symbol
from recognition.commands.import_weights import main
from recognition.weights.arcface_torch import SETTINGS
from symbols import get_symbol
from symbols.passes.prelu import as_operators
from tests.helpers.importing import images
from tests.helpers.iresnets import UNITS, iresnet, write_iresnet

import mxnet as mx


def write(path):
    """Write an iresnet18 whose small numbers keep its embeddings finite."""
    write_iresnet(path, iresnet(UNITS['iresnet18']), value=lambda number: 0.01 + number / 4096)


def test_weights_of_arcface_torch_come_with_their_settings(tmp_path, capsys):
    write(tmp_path / 'backbone.pth')
    command = ['arcface_torch', str(tmp_path / 'backbone.pth'), '--network', 'r18', '--output']
    main([*command, str(tmp_path / 'new'), '--emb-size', '8'])
    shown = capsys.readouterr().out
    assert 'missing' not in shown
    assert f'input     RGB in 0..255; (x - 127.5) * {1 / 127.5:.10g} is inside' in shown
    assert f'--config bn_eps=1e-05 --config input_scale={1 / 127.5!r}' in shown
    assert f'--bn-eps 1e-05 --input-scale {1 / 127.5!r} --pretrained {tmp_path / "new"},0' in shown
    saved = load_embedding(tmp_path / 'new', 0)
    own = get_symbol(resolve('r18', emb_size=8, **SETTINGS))
    assert saved.symbol.tojson() == as_operators(own).tojson()
    net = wrap_symbol(own)
    set_parameters(net, saved.values, mx.cpu())
    assert np.isfinite(net(images(112)).asnumpy()).all()

    main([*command, str(tmp_path / 'newer'), '--head', 'GAP', '--emb-size', '8'])
    assert 'was drawn fresh' in capsys.readouterr().out
    with pytest.raises(CheckpointError, match='r18'):
        main([*command[:2], '--network', 'r34', '--output', str(tmp_path / 'newest'), '--emb-size', '8'])
    assert not list(tmp_path.glob('newest*'))


def test_what_of_arcface_torch_is_taken_with_another_head_or_activation(tmp_path, capsys):
    write(tmp_path / 'backbone.pth')
    command = ['arcface_torch', str(tmp_path / 'backbone.pth'), '--network', 'r18', '--output']
    main([*command, str(tmp_path / 'a'), '--fresh-head'])  # of 512 values
    main([*command, str(tmp_path / 'b'), '--partial', '--emb-size', '16', '--activation', 'relu'])
    assert capsys.readouterr().out.count('was drawn fresh') == 2
    with pytest.raises(CheckpointError, match="net_act='relu' does not go with weights of arcface_torch"):
        main([*command, str(tmp_path / 'c'), '--fresh-head', '--activation', 'relu'])
    with pytest.raises(CheckpointError, match='bn_eps=2e-05 does not go with weights of arcface_torch'):
        main([*command, str(tmp_path / 'c'), '--emb-size', '8', '--config', 'bn_eps=2e-5'])
