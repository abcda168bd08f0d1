"""Which process loads what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.sampling.class_uniform import sample_epoch
from datasets.sampling.sampler import evaluation_indices
from tests.datasets.trees import sampler
from utils.errors import OptionError

sizes = st.tuples(st.integers(0, 200), st.integers(1, 9), st.integers(1, 7))


@settings(max_examples=150, deadline=None)
@given(sizes, st.integers(0, 30))
def test_ranks_share_the_plan_in_order_and_nobody_gets_a_sample_twice(size, start_step):
    num_images, world_size, batch_size = size
    plan = sample_epoch(num_images, None, 0.0, seed=0, epoch=0)
    group = world_size * batch_size
    if num_images < group:
        with pytest.raises(OptionError, match="--bs_mult"):
            sampler(plan, batch_size, 0, world_size)
        return
    samplers = [sampler(plan, batch_size, rank, world_size, start_step) for rank in range(world_size)]
    per_rank = [list(one) for one in samplers]
    steps = max(0, num_images // group - start_step)
    assert [len(batches) for batches in per_rank] == [len(one) for one in samplers] == [steps] * world_size
    merged = [draw for step in zip(*per_rank, strict=True) for batch in step for draw in batch]
    assert merged == list(plan[start_step * group :][: steps * group])


@given(st.integers(0, 600), st.integers(1, 16))
def test_evaluation_covers_each_index_exactly_once(n, world_size):
    shares = [evaluation_indices(n, rank, world_size) for rank in range(world_size)]
    assert sorted(index for share in shares for index in share) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
