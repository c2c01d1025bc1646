"""A small share of each campaign; docs/campaigns.md says how the whole is started."""

from __future__ import annotations

import sys

import pytest

from tests.campaigns import disk_full, mutation, sandbox
from tests.campaigns.table import faults, markdown

QUICK_FORMATS = (
    '.state',
    '.bin',
    '.params',
    'symbol JSON',
    'train.rec',
    'property',
    '.lst',
    '.pth',
    'safetensors',
    '.npz',
)


def mutations():
    return mutation.run(QUICK_FORMATS, trials=40, seed=0)


def full_disks():
    commands = ['train', 'pack', 'pack --pairs', 'embed .npz', 'export onnx', 'plot .svg']
    return disk_full.campaign(commands, trials=6, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize('campaign', [mutations, full_disks])
def test_a_share_of_a_campaign_finds_nothing(campaign):
    rows = campaign()
    assert faults(rows) == 0, markdown(rows)
    assert all(row['refused'] for row in rows.values())


SHARES = {
    'kills': ['--trials', 3, '--only', 'partial FC', 'classes'],
    'soak': ['--minutes', 0.05, '--only', 'onnxruntime'],
    'mutants': ['--trials', 3, '--seed', 1, '--room', 'recognition/losses'],
}


@pytest.mark.slow
@pytest.mark.parametrize('name', SHARES)
def test_a_share_of_a_program_finds_nothing(name):
    result = sandbox.run(
        [sys.executable, '-W', 'ignore', '-m', f'tests.campaigns.{name}', *SHARES[name]], 600
    )
    assert result.outcome == 'right', f'{result.stdout}\n{result.stderr}'
    # a table of rows for what SHARES names, and no words on faults before it
    assert len(result.stdout.splitlines()) == (3 if name == 'mutants' else 4), result.stdout
