"""The table of doors: it has every network and form, what it leaves out is refused, and a cheap row is what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import CheckpointError, resolve
from recognition.weights.iresnet import MOVED, check_config
from recognition.weights.keras.mapping import to_keras
from tools import write_doors
from tools.write_doors import EXACT, FORMS, MISSING, NETWORKS, NONE

PAGE = Path(__file__).parents[2] / 'docs' / 'doors.md'
NUMBER = r'\d(?:\.\d)?e-\d\d'
CELL = re.compile(rf'{NONE}|({EXACT}|{NUMBER}), ({NONE}|({EXACT}|{NUMBER}), trains)')
LARGEST = 1e-4
OF_SOME = ('PyTorch', 'Keras')  # networks alone


@pytest.fixture(scope='module')
def rows():
    return write_doors.rows_of(PAGE.read_text('utf-8'))


def test_the_page_is_that_of_its_rows(rows):
    assert list(rows) == list(NETWORKS)
    assert write_doors.document(rows) == PAGE.read_text('utf-8')
    assert not [name for name, cells in rows.items() if MISSING in cells.values()]


def test_every_cell_is_a_claim_within_bounds(rows):
    for name, cells in rows.items():
        assert list(cells) == list(FORMS)
        assert not [cell for cell in cells.values() if not CELL.fullmatch(cell)], name
        for form, cell in cells.items():
            assert all(float(number) <= LARGEST for number in re.findall(NUMBER, cell)), form
            assert cell in (NONE, MISSING) or cell.endswith('trains') == bool(FORMS[form].read)


def has(check) -> bool:
    """Return whether a format has a network: its check passes, or asks for values, which there are none of here."""
    try:
        check()
    except CheckpointError:
        return False
    except KeyError:
        return True
    return True


@pytest.mark.parametrize('name', NETWORKS)
def test_what_is_left_out_is_what_is_refused(name, rows):
    cfg = resolve(name.partition(' ')[0], **NETWORKS[name])
    cells = rows[name]
    assert (cells['PyTorch'] != NONE) == has(lambda: check_config(cfg, MOVED))
    assert (cells['Keras'] != NONE) == has(lambda: next(to_keras({}, cfg, 'net.keras')))
    assert [form for form, cell in cells.items() if cell == NONE and form not in OF_SOME] == []


@pytest.mark.parametrize('form', ['MXNet', 'ONNX, pixels inside', 'PyTorch', 'safetensors', 'Keras'])
def test_weights_come_back_equal_and_train(form, rows):
    cells = {name: cells[form] for name, cells in rows.items()}
    assert {cell.split(', ', 1)[1] for cell in cells.values() if cell not in (NONE, MISSING)} == {
        f'{EXACT}, trains'
    }


@pytest.mark.slow
def test_a_row_measured_again(rows, tmp_path):
    forms = [name for name in FORMS if name not in ('ncnn', 'MNN')]
    found = dict(zip(forms, write_doors.measure('y1', tmp_path, forms)))
    for form, cell in found.items():
        assert re.sub(NUMBER, 'x', cell) == re.sub(NUMBER, 'x', rows['y1'][form]), form
