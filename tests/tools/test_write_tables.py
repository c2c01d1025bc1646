import runpy
from pathlib import Path

import pytest

from config import DataError, network
from symbols import list_activations, list_heads

ROOT = Path(__file__).parents[2]
tool = runpy.run_path(str(ROOT / 'tools' / 'write_tables.py'))
main = tool['main']


@pytest.mark.slow
def test_the_tables_of_the_readme_are_true():
    main([str(ROOT / 'README.md'), '--check'])


@pytest.mark.slow
def test_every_network_head_and_activation_has_a_row():
    rows = [line.split('|')[1].strip().strip('`') for line in tool['tables']().splitlines() if '|' in line]
    assert set(rows) >= {*network, *list_heads(), *list_activations()}


@pytest.mark.parametrize(
    ('page', 'right', 'wrong'),
    [
        pytest.param('README.md', '24,025,600', '24,000,000', marks=pytest.mark.slow),
        ('docs/onnx-operators.md', '| `Crop` | `Slice` |\n', ''),
    ],
)
def test_a_fault_is_found_and_put_right(page, right, wrong, tmp_path):
    text = (ROOT / page).read_text(encoding='utf-8')
    path = tmp_path / Path(page).name
    path.write_text(text.replace(right, wrong, 1), encoding='utf-8')
    with pytest.raises(DataError, match='not up to date'):
        main([str(path), '--check'])
    main([str(path)])
    assert path.read_text(encoding='utf-8') == text


def test_the_table_of_operators_is_true():
    main([str(ROOT / 'docs' / 'onnx-operators.md'), '--check'])


def test_a_readme_without_a_place_for_the_tables_is_left_alone(tmp_path):
    path = tmp_path / 'README.md'
    path.write_text('# no tables\n')
    with pytest.raises(DataError, match='has no lines'):
        main([str(path)])
    assert path.read_text() == '# no tables\n'
