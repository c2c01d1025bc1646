"""Orders of an epoch: each image comes, and in groups of one identity where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recognition.data.sampler import SAMPLERS


def rng(seed=0):
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize('name', SAMPLERS)
@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    count=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_every_image_comes_and_every_epoch_is_as_long(name, labels, count, seed):
    labels = np.array(labels)
    order, other = (SAMPLERS[name](labels, count, rng(each)) for each in (seed, seed + 1))
    assert set(order) == set(range(len(labels)))
    assert len(order) == len(other)
    np.testing.assert_array_equal(order, SAMPLERS[name](labels, count, rng(seed)))


@settings(deadline=None)
@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60), count=st.integers(1, 7))
def test_groups_are_of_one_identity_and_none_is_longer_than_it_must_be(labels, count):
    labels = np.array(labels)
    groups = labels[SAMPLERS['balanced'](labels, count, rng())].reshape(-1, count)
    assert (groups == groups[:, :1]).all()
    for identity, images in zip(*np.unique(labels, return_counts=True)):
        assert (groups[:, 0] == identity).sum() == -(-images // count)


def test_an_epoch_is_in_no_order_of_identities():
    labels = np.repeat(np.arange(50), 4)
    groups = labels[SAMPLERS['balanced'](labels, 4, rng())].reshape(-1, 4)[:, 0]
    assert not (np.diff(groups) >= 0).all()
