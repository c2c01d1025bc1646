from __future__ import annotations

import json

import numpy as np
import pytest

from recognition.cli import run
from recognition.commands.check_data import main
from recognition.data.dataset import FaceDataset
from recognition.data.images import PNG, encode_image
from recognition.data.writer import write_records


@pytest.fixture
def folder(tmp_path):
    def face(seed):
        return encode_image(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8), PNG)

    write_records(tmp_path / 'faces', ((face(n), n // 3) for n in range(12)), 4, (8, 8, 3))
    return tmp_path / 'faces'


def ended(capsys, *argv):
    with pytest.raises(SystemExit) as leaving:
        run(lambda: main(list(map(str, argv))))
    said = capsys.readouterr()
    return leaving.value.code, said.out, said.err


def test_a_good_set_is_status_0(folder, capsys):
    status, out, _ = ended(capsys, folder)
    assert status == 0
    assert out == f'{folder}: 12 images of 4 identities: no fault\n'


def test_faults_are_status_1_and_no_more_are_printed_than_asked_for(folder, capsys):
    (folder / 'property').write_text('4,9,9')
    status, out, _ = ended(capsys, folder, '--limit', '3')
    assert status == 1
    assert 'images of another size (12):' in out
    assert 'and 9 more; --limit shows more of them' in out
    assert out.endswith('12 images of 4 identities: 12 faults\n')
    status, out, _ = ended(capsys, folder, '--json', '--data-workers', '0')
    assert status == 1
    assert len(json.loads(out)['faults']['size']) == 12


def test_a_lost_index_is_made_anew(folder, capsys):
    index = folder / 'train.idx'
    before = sorted(index.read_text().splitlines())
    index.unlink()
    assert ended(capsys, folder, '--write-index')[0] == 0
    assert sorted(index.read_text().splitlines()) == before
    assert len(FaceDataset(folder)) == 12
    status, _, err = ended(capsys, folder, '--write-index')
    assert (status, err.count('\n')) == (1, 1)
    assert 'has its index; remove one to have it made anew' in err


@pytest.mark.parametrize(
    ('argv', 'sentence'),
    [
        (('nowhere',), 'there is no folder nowhere'),
        (('.', '--limit', '0'), "--limit: '0' is not a whole number of at least 1"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, argv, sentence):
    status, _, err = ended(capsys, *argv)
    assert (status, err.count('\n')) == (1, 1)
    assert sentence in err
