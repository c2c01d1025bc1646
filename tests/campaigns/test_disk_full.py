"""A small share of the campaign of full disks; docs/campaigns.md says how the whole is started."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.campaigns.disk_full import campaign
from tests.campaigns.table import faults, markdown

SPARE = ['unshare', '-m' if os.geteuid() == 0 else '-rm', 'mount', '-t', 'tmpfs', 'none', '/mnt']


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_file_or_the_new_one():
    if subprocess.run(SPARE, capture_output=True).returncode:
        pytest.skip('this machine lets nobody mount a file system of their own')
    rows = campaign(
        ['train', 'pack', 'pack --pairs', 'embed .npz', 'export onnx', 'plot .svg'], trials=6, seed=0
    )
    assert faults(rows) == 0, markdown(rows)
    assert all(row['refused'] for row in rows.values())
