"""Templates from the command line, on the ORL faces (AT&T Laboratories Cambridge)."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from config import resolve
from config.errors import ConfigError, DataError
from recognition.checkpoint.network import load_network, save_network
from recognition.commands.verify_templates import main
from recognition.data.orl import find_photographs
from recognition.verification.lfw import embed
from recognition.verification.templates import identify, template_embeddings, verify_templates
from symbols import get_symbol

import mxnet as mx

SIDE, PEOPLE = 32, 12


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Photographs of twelve people, four templates of two media each, and a small network that is not trained."""
    folder = tmp_path_factory.mktemp('templates')
    (folder / 'images').mkdir()
    lines = []
    for person in range(PEOPLE):
        for photo in range(8):
            face = cv2.imread(str(find_photographs() / f's{person + 1}' / f'{photo + 1}.pgm'))
            name = f'{person}-{photo}.png'
            cv2.imwrite(str(folder / 'images' / name), cv2.resize(face, (SIDE, SIDE)))
            lines.append(f'{name} {4 * person + photo // 2} {photo}')
    (folder / 'media.txt').write_text('\n'.join(lines) + '\n')
    pairs = [(a, b) for a in range(4 * PEOPLE) for b in range(a)]
    (folder / 'pairs.txt').write_text(''.join(f'{a} {b} {int(a // 4 == b // 4)}\n' for a, b in pairs))
    (folder / 'gallery.txt').write_text(''.join(f'{4 * person} {person}\n' for person in range(8)))
    probes = [template for template in range(4 * PEOPLE) if template % 4]
    (folder / 'probes.txt').write_text(''.join(f'{template} {template // 4}\n' for template in probes))
    symbol = get_symbol(resolve('y1', emb_size=32, net_multiplier=0.25, image_shape=(SIDE, SIDE, 3)))
    shapes, _, states = symbol.infer_shape(data=(1, 3, SIDE, SIDE))
    rng = np.random.default_rng(0)
    args = {
        name: mx.nd.array(rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])))
        for name, shape in zip(symbol.list_arguments(), shapes)
        if name != 'data'
    }
    auxs = {name: mx.nd.ones(shape) for name, shape in zip(symbol.list_auxiliary_states(), states)}
    save_network(folder / 'model', 1, symbol, args, auxs)
    return folder


def words(folder, *more):
    named = {'--model': 'model,1', '--images': 'images', '--media': 'media.txt'}
    return [
        *(part for key, value in named.items() for part in (key, str(folder / value))),
        '--image-size',
        '32,32',
        *more,
    ]


def test_the_figures_are_those_of_the_library(folder, capsys):
    lists = [
        '--pairs',
        folder / 'pairs.txt',
        '--gallery',
        folder / 'gallery.txt',
        '--probes',
        folder / 'probes.txt',
    ]
    main(words(folder, '--json', *map(str, lists)))
    shown = json.loads(capsys.readouterr().out)
    rows = [line.split() for line in (folder / 'media.txt').read_text().splitlines()]
    images = np.stack([cv2.imread(str(folder / 'images' / row[0]))[..., ::-1] for row in rows]).transpose(
        0, 3, 1, 2
    )
    net = load_network(folder / 'model', 1, image_shape=(SIDE, SIDE, 3))
    known, made = template_embeddings(embed(net, images), *([int(row[k]) for row in rows] for k in (1, 2)))
    pairs = [(a, b) for a in range(4 * PEOPLE) for b in range(a)]
    result = verify_templates(known, made, *zip(*pairs), [a // 4 == b // 4 for a, b in pairs])
    assert shown['verification']['auc'] == pytest.approx(result.auc, abs=1e-6)
    assert shown['verification']['tar_at_far']['0.1'] == pytest.approx(result.tar_at_far[0.1])
    others = np.array([template for template in range(4 * PEOPLE) if template % 4])
    search = identify(made[np.arange(8) * 4], np.arange(8), made[others], others // 4)
    assert shown['identification']['rank']['1'] == pytest.approx(search.rank[1])
    assert search.rank[1] > 2 / 8  # photographs of one person are alike to any network
    main(words(folder, *map(str, lists)))
    assert '1:N, 24 probes of people in the gallery and 12 others' in capsys.readouterr().out


def test_mistakes_are_one_sentence(folder, tmp_path):
    with pytest.raises(ConfigError, match='nothing to judge by'):
        main(words(folder))
    pairs = ['--pairs', str(folder / 'pairs.txt')]
    with pytest.raises(DataError, match=r'0-0\.png is 32x32 where 31x31 is wanted \(--resize\)'):
        main([*words(folder, *pairs), '--image-size', '31,31'])
    (tmp_path / 'media.txt').write_text('nothing.png 1 1\n')
    with pytest.raises(DataError, match=r'nothing\.png cannot be read: No such file'):
        main([*words(folder, *pairs), '--media', str(tmp_path / 'media.txt')])
