"""The options that name a checkpoint to write in another form."""

from __future__ import annotations

import pytest

from config.errors import CheckpointError, ConfigError
from recognition.cli.parser import Parser
from recognition.cli.source_options import Source, add_source_options, source_from


def read(*words):
    parser = Parser()
    add_source_options(parser)
    return source_from(parser.parse_args(list(words)))


def test_what_they_name():
    assert read('--model', 'runs/a,b,7') == Source('runs/a,b', 7, None, None)
    given = read('--model', 'm,0', '--image-size', '96,80', '--faces', 'photos')
    assert given == Source('m', 0, (96, 80, None), 'photos')


def test_words_that_name_nothing():
    with pytest.raises(CheckpointError, match=r"--model 'm' is not PREFIX,EPOCH"):
        read('--model', 'm')
    with pytest.raises(ConfigError, match=r"--image-size: '0,1' is not H,W or H,W,C"):
        read('--model', 'm,1', '--image-size', '0,1')
