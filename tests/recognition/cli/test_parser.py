"""Mistakes on a command line, and the old names of options."""

from __future__ import annotations

import pytest

from config.errors import ConfigError
from recognition.cli.parser import Parser, command_parser
from recognition.cli.train_options import build_parser as train_parser


@pytest.fixture
def parser():
    made = command_parser('verify', 'Verify.', '--pairs lfw.bin')
    made.add_argument('--pairs', required=True)
    made.add_argument('--folds', type=int)
    made.add_argument('words', nargs='*')
    made.rename('--set', '--pairs')
    return made


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (
            ['--pair', 'a'],
            r"'--pair' is not an option; did you mean '--pairs'\? \(facesymbols verify --help lists",
        ),
        (['--pairz=a'], r"'--pairz' is not an option; did you mean '--pairs'"),
        (['--pairs', 'a', '-x'], r"'-x' is not an option"),
        ([], 'arguments are required: --pairs'),
        (['--pairs', 'a', '--folds', 'x'], "--folds: invalid int value: 'x'"),
    ],
)
def test_a_mistake_is_one_sentence(parser, words, message, capsys):
    with pytest.raises(ConfigError, match=message) as caught:
        parser.parse_args(words)
    assert '\n' not in str(caught.value)
    assert tuple(capsys.readouterr()) == ('', '')


@pytest.mark.parametrize('words', [['--set', 'a'], ['--set=a'], ['--pairs', 'a']])
def test_an_old_name_means_the_new_one_with_a_warning(parser, words, caplog):
    assert parser.parse_args(words).pairs == 'a'
    warned = 'warning: --set is deprecated and will be removed in the next release; use --pairs'
    assert caplog.messages == ([] if '--pairs' in words else [warned])
    assert '--set' not in parser.format_help()


def test_what_stands_behind_two_dashes_is_another_programs(parser, caplog):
    args = parser.parse_args(['--pairs', 'a', '--', '--set', '--unknown'])
    assert args.words == ['--set', '--unknown']
    assert caplog.messages == []


def test_a_subcommand_has_options_of_its_own():
    parser = Parser(prog='facesymbols import-weights')
    keras = parser.add_subparsers().add_parser('keras')
    keras.add_argument('--epoch')
    assert parser.parse_args(['keras', '--epoch', '3']).epoch == '3'
    with pytest.raises(ConfigError, match=r"'--epoc' is not an option; did you mean '--epoch'"):
        parser.parse_args(['keras', '--epoc', '3'])


def test_the_help_of_train_shows_fifteen_options_and_help_all_every_key():
    from config.keys import KEYS

    short, whole = (train_parser(argv).format_help() for argv in ([], ['--help-all']))
    shown = [line for line in short.splitlines() if line.startswith(('  --', '  -o'))]
    assert len(shown) == 15 + 1  # --help-all
    assert short.count('    facesymbols train --network') == 3
    hidden = {'network', 'dataset', 'loss', 'batch_size'}  # of other names, or without effect
    assert [key for key in KEYS if f'--{key.replace("_", "-")} ' not in whole and key not in hidden] == []
