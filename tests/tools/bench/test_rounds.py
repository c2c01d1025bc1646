from __future__ import annotations

import pytest

from config import ConfigError
from tools.bench.rounds import interleaved, machine, table


def told(_):
    """Say nothing."""


def contender(called, name, figures):
    figures = iter(figures)

    def run():
        called.append(name)
        return {'images/s': next(figures)}

    return run


def test_contenders_take_turns_and_ratios_are_taken_within_a_round():
    # the machine was twice as slow in the second round: the ratios do not see it
    called = []
    ours = contender(called, 'ours', [1, 100, 50, 100])
    theirs = contender(called, 'theirs', [1, 200, 100, 210])
    first, second = interleaved({'ours': ours, 'theirs': theirs}, 3, told=told)
    assert called == ['ours', 'theirs'] * 4
    assert (first.figures, first.ratios) == ({'images/s': 100}, {'images/s': 1})
    assert (second.figures, second.ratios) == ({'images/s': 200}, {'images/s': 2})
    assert len(second.rounds) == 3


def test_the_table_has_each_figure_beside_its_ratio():
    rows = interleaved(
        {'a': lambda: {'images/s': 2000, 'MB': 10}, 'b': lambda: {'images/s': 500, 'MB': 5}}, 1, told=told
    )
    assert table(rows).splitlines() == [
        '|  | images/s | ratio | MB | ratio |',
        '| --- | ---: | ---: | ---: | ---: |',
        '| a | 2,000 | 1.00 | 10 | 1.00 |',
        '| b | 500 | 0.25 | 5 | 0.50 |',
    ]


def test_no_round_is_refused():
    with pytest.raises(ConfigError, match='rounds=0 must be at least 1'):
        interleaved({'a': lambda: {}}, 0, told=told)


def test_the_machine_says_what_the_figures_belong_to():
    about = machine()
    assert about['mxnet'] == '1.9.1'
    assert about['cores'] >= 1


def test_a_figure_that_is_not_held_against_another_has_no_ratio():
    (row,) = interleaved({'a': lambda: {'images/s': 2000}}, 1, told=told)
    row.figures['of GEMM'] = 0.5
    assert table([row]).splitlines() == [
        '|  | images/s | ratio | of GEMM |',
        '| --- | ---: | ---: | ---: |',
        '| a | 2,000 | 1.00 | 0.5 |',
    ]
