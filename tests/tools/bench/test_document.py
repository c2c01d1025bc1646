from __future__ import annotations

import pytest

from config.errors import DataError
from tools.bench.document import put_section, section

ORDER = ('embed', 'train', 'data')


def test_sections_stand_in_their_order_and_are_replaced(tmp_path):
    path = tmp_path / 'benchmarks.md'
    for suite, text in (('data', 'images\n\n| 1 |'), ('embed', 'first'), ('embed', 'second')):
        put_section(path, suite, text, ORDER)
    head, *rest = path.read_text().split('\n## ')
    assert head.startswith('# Benchmarks\n')
    assert rest == ['embed\n\nsecond\n', 'data\n\nimages\n\n| 1 |\n']


def test_a_section_tells_machine_versions_and_settings():
    text = section('images a second', {'processor': 'X', 'mxnet': '1.9.1'}, {'networks': ['a', 'b']}, '| |')
    assert text.split('\n\n') == ['Images a second.', 'processor X, mxnet 1.9.1.', 'networks a,b.', '| |']


def test_a_file_that_is_no_text_is_left_alone(tmp_path):
    path = tmp_path / 'benchmarks.md'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DataError, match='could not be read'):
        put_section(path, 'data', 'x', ORDER)
    assert path.read_bytes() == b'\xff\xfe\x00'
