"""What the audit writes in every format, beside golden files (`pytest --golden` writes them anew)."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from config import resolve
from config.errors import ConfigError
from recognition.commands.audit import main
from recognition.reports.budget import over_budget
from recognition.reports.tables import FORMS, Report, Table, write
from recognition.utils.amounts import parse_amount
from symbols import get_symbol
from symbols.audit.core import audit
from symbols.audit.memory import estimate_memory

import mxnet as mx

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / 'tests' / 'golden'
SMALL = ['r18', '--config', 'net_multiplier=0.25', '--emb-size', '64', '--head', 'GAP']
ENDINGS = {'terminal': 'txt', 'markdown': 'md', 'csv': 'csv', 'html': 'html', 'json': 'json'}
CASES = {
    **{f'audit.{ending}': [*SMALL, '--format', form] for form, ending in ENDINGS.items()},
    'audit-layers.txt': [*SMALL, '--level', 'layers'],
    'audit-keras.txt': [*SMALL, '--format', 'keras'],
    'audit-explained.txt': [*SMALL, '--explain'],
    'audit-diff.txt': ['--diff', 'y1', 'y2'],
    'audit-diff.md': ['--diff', 'r18', 'r34', '--format', 'markdown'],
}


@pytest.mark.parametrize('name', CASES)
def test_the_output_is_that_of_the_golden_file(name, capsys, request):
    main(CASES[name])
    written = capsys.readouterr().out
    path = GOLDEN / name
    if request.config.getoption('--golden'):
        path.write_text(written, encoding='utf-8')
    assert written == path.read_text(encoding='utf-8')


def test_every_format_has_a_golden_file():
    assert {*FORMS, 'json'} == set(ENDINGS)
    assert {path.name for path in GOLDEN.iterdir()} == {*CASES, 'sha256.txt', 'config.txt'}  # of other tests


def test_the_numbers_are_those_of_the_audit_in_every_format(capsys):
    total = audit(get_symbol(resolve('r18')), {'data': (1, 3, 112, 112)}).total
    for form in FORMS:
        main(['r18', '--format', form])
        text = capsys.readouterr().out
        if form == 'csv':
            rows = list(csv.DictReader(io.StringIO(text)))
            sizes = [
                sum(int(row[key] or 0) for row in rows) for key in ('trainable', 'fixed', 'MACs', 'bytes')
            ]
            assert sizes == [total.trainable, total.fixed, total.flops, total.bytes]
        else:
            assert {f'{total.parameters:,}', f'{total.flops:,}'} <= set(re.findall(r'[\d,]+', text))


def test_a_file_in_place_of_the_screen(tmp_path, capsys):
    main([*SMALL, '--json', '--output', str(tmp_path / 'new' / 'audit.json')])
    assert capsys.readouterr().out == ''
    assert json.loads((tmp_path / 'new' / 'audit.json').read_text())['network'] == 'r18'


def test_strange_words_stay_what_they_are():
    out = io.StringIO()
    table = Table(('a|b', 'n'), (('<x>_*|', 3), (None, None)), ('sum', 3))
    write(Report('<t>', [table]), 'markdown', out)
    assert '| <x>\\_\\*\\| | 3 |' in out.getvalue()
    out = io.StringIO()
    write(Report('<t>', [table]), 'html', out)
    assert '&lt;x&gt;_*|' in out.getvalue()
    assert '<x>' not in out.getvalue()
    with pytest.raises(ConfigError, match=r"format='markdwn' .* did you mean 'markdown'"):
        write(Report('t', [table]), 'markdwn', out)


def test_the_table_of_all_networks(capsys, monkeypatch):
    monkeypatch.setattr(
        'recognition.reports.network_table._combinations', lambda: [('y1', 'gdc_fc_bn'), ('r18', 'gap_fc_bn')]
    )
    main(['--all', '--format', 'csv', '--activation', 'relu'])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row['preset'], row['head']) for row in rows] == [('y1', 'gdc_fc_bn'), ('r18', 'gap_fc_bn')]
    assert rows[1]['parameters'] == '11440704'


@pytest.mark.slow
def test_all_networks_are_in_the_table(capsys):
    main(['--all', '--json'])
    rows = json.loads(capsys.readouterr().out)['Networks']
    assert len(rows) == len({(row['preset'], row['head']) for row in rows}) == 30 * 14


@pytest.mark.parametrize(
    ('text', 'amount'),
    [('8M', 8_000_000), ('1.5G', 1_500_000_000), ('200MB', 200_000_000), ('30000', 30000), ('2 k', 2000)],
)
def test_amounts(text, amount):
    assert parse_amount('--max-params', text) == amount


@pytest.mark.parametrize('text', ['', 'x', '8X', '-1M', '1e6', 'nan', '8MiB'])
def test_what_is_no_amount(text):
    with pytest.raises(ConfigError, match=r'--max-params .* is no amount'):
        parse_amount('--max-params', text)


@pytest.mark.parametrize(
    ('option', 'below', 'above', 'words'),
    [
        (
            '--max-params',
            '11M',
            '12M',
            '11,443,200 parameters are more than 11,000,000; the largest layers are stage4',
        ),
        ('--max-flops', '2.5G', '2.7G', 'multiply-accumulates are more than 2,500,000,000'),
        ('--max-memory', '10MB', '1GB', 'bytes of an inference are more than 10,000,000'),
    ],
)
def test_a_limit_that_is_passed_is_status_1_and_names_the_largest(option, below, above, words, capsys):
    assert main(['r18', '--head', 'GAP', option, above]) is None
    assert capsys.readouterr().err == ''
    assert main(['r18', '--head', 'GAP', option, below]) == 1
    assert words in capsys.readouterr().err


def test_what_is_not_counted_keeps_no_limit():
    x = mx.sym.Correlation(mx.sym.var('data'), mx.sym.var('data'), kernel_size=1, name='corr')
    shapes = {'data': (1, 3, 8, 8)}
    audited = audit(x, shapes)
    (sentence,) = over_budget(audited, estimate_memory(x, shapes, audited), flops=10**12)
    assert 'Correlation are not known' in sentence


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        ([], 'name one network'),
        (['r18', '--all'], 'name one network'),
        (
            ['--all', '--max-params', '1M'],
            'limits, --explain, --level and --format keras are for one network',
        ),
        (['--diff', 'r18', 'r34', '--level', 'layers'], '--level and --format keras are for one network'),
        (['--all', '--format', 'keras'], '--level and --format keras are for one network'),
        (
            ['r18', '--format', 'keras', '--level', 'operators'],
            'so --level operators and --explain are not for it',
        ),
        (['r18', '--format', 'keras', '--explain'], 'so --level operators and --explain are not for it'),
        (['--all', '--head', 'E'], '--head, --shape, --image-size, --output-layer and --config are'),
        (['--diff', 'r18', 'r19'], "'r19' is not a network preset"),
    ],
)
def test_mistakes(argv, message):
    with pytest.raises(ConfigError, match=message):
        main(argv)
