from __future__ import annotations

import pytest

from config.errors import FaceSymbolsError
from tools.bench import classifier


@pytest.mark.slow
def test_contenders_are_measured_each_in_a_process_of_its_own(monkeypatch):
    wanted = ('whole', 'over 2 workers, sampled, 0.1')
    monkeypatch.setattr(classifier, 'CONTENDERS', {name: classifier.CONTENDERS[name] for name in wanted})
    monkeypatch.setattr(classifier, 'STEPS', 1)
    rows = classifier.measure(1, identities=40000, told=lambda _: None)
    assert [row.name for row in rows] == list(wanted)
    whole, part = (row.figures for row in rows)
    held = 40000 * 512 * 4 / 1e9
    assert whole['GB of a worker'] > 3 * held  # weight, momentum and gradient
    assert part['GB of a worker'] < whole['GB of a worker']
    assert all(row.figures['seconds a step'] > 0 for row in rows)


def test_a_contender_that_fails_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr(classifier, 'CONTENDERS', {'whole': {'loss_s': -1.0}})
    with pytest.raises(FaceSymbolsError, match=r'ended with status 1; .*loss_s=-1.0') as caught:
        classifier.measure(1, identities=10, told=lambda _: None)
    assert '\n' not in str(caught.value)
