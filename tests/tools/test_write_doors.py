"""The table of doors: it has every network and form, what it leaves out is refused, and a cheap row is what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import CheckpointError, resolve
from recognition.cli.import_formats import FORMATS as IMPORTS
from recognition.weights.iresnet import MOVED, check_config
from recognition.weights.keras.mapping import to_keras
from tools import write_doors
from tools.write_doors import EXACT, FORMS, MISSING, NETWORKS, NONE

PAGE = Path(__file__).parents[2] / 'docs' / 'doors.md'
NUMBER = r'\d(?:\.\d)?e-\d\d'
CELL = re.compile(rf'{NONE}|{MISSING}|({EXACT}|{NUMBER}), ({NONE}|{MISSING}|({EXACT}|{NUMBER}), trains)')
LARGEST, LARGEST_OF_MNN = 1e-4, 5e-3  # the latter has convolutions of its own
OF_SOME = ('PyTorch', 'Keras')  # networks alone


@pytest.fixture(scope='module')
def rows():
    return write_doors.rows_of(PAGE.read_text('utf-8'))


def test_the_page_is_that_of_its_rows(rows):
    assert list(rows) == list(NETWORKS)
    assert write_doors.document(rows) == PAGE.read_text('utf-8')


def test_every_cell_is_a_claim_within_bounds(rows):
    for name, cells in rows.items():
        assert list(cells) == list(FORMS)
        assert not [cell for cell in cells.values() if not CELL.fullmatch(cell)], name
        for form, cell in cells.items():
            bound = LARGEST_OF_MNN if form == 'MNN' else LARGEST
            assert all(float(number) <= bound for number in re.findall(NUMBER, cell))


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
    if {*cells.values()} == {MISSING}:
        pytest.skip('not measured yet')
    assert (cells['PyTorch'] != NONE) == has(lambda: check_config(cfg, MOVED))
    assert (cells['Keras'] != NONE) == has(lambda: next(to_keras({}, cfg, 'net.keras')))
    assert [form for form, cell in cells.items() if cell == NONE and form not in OF_SOME] == []


@pytest.mark.parametrize('form', ['MXNet', 'PyTorch', 'safetensors', 'Keras'])
def test_weights_come_back_equal_and_train(form, rows):
    cells = {name: cells[form] for name, cells in rows.items()}
    assert {cell.split(', ', 1)[1] for cell in cells.values() if cell not in (NONE, MISSING)} == {
        f'{EXACT}, trains'
    }


def test_what_is_imported_is_claimed(rows):
    """A form that import-weights has learnt to read is measured anew."""
    for name, form in FORMS.items():
        if form.read and form.read[0] in IMPORTS:
            assert not [network for network, cells in rows.items() if cells[name].endswith(f', {MISSING}')]


@pytest.mark.slow
def test_a_row_measured_again(rows, tmp_path):
    forms = [name for name in FORMS if name not in ('ncnn', 'MNN')]
    found = dict(zip(forms, write_doors.measure('y1', tmp_path, forms)))
    for form, cell in found.items():
        assert re.sub(NUMBER, 'x', cell) == re.sub(NUMBER, 'x', rows['y1'][form]), form
