"""The page of other programs: its versions are those that are tested."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = {'opencv-python-headless': 'OpenCV', 'openvino': 'OpenVINO'}


def test_the_versions_of_the_page_are_those_of_the_tests():
    pins = dict(
        re.findall(r'^(\S+)==(\S+)$', (ROOT / 'tests/consumers/constraints.txt').read_text(), re.MULTILINE)
    )
    rows = re.findall(r'^\| ([^|]+?) ([\d.]+) \|', (ROOT / 'docs/consumers.md').read_text(), re.MULTILINE)
    shown = dict(rows)
    for package in ('insightface', 'uniface', 'onnxruntime', 'ncnn', 'MNN', 'onnx2torch', *NAMES):
        assert f'{pins[package]}.'.startswith(f'{shown[NAMES.get(package, package)]}.'), package
    assert len(rows) == 8
    assert f'in Keras {pins["keras"].rpartition(".")[0]},' in (ROOT / 'docs/consumers.md').read_text()
