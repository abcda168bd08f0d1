"""Which pixels OHEM keeps, against a reference that sorts."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from loss import OhemCrossEntropy


def sorted_reference(logits, labels, thresh, min_kept, ignore_label):
    valid = labels != ignore_label
    if not valid.any():
        return 0 * logits.sum()
    true_class = labels.where(valid, 0)
    prob = logits.softmax(1).gather(1, true_class.unsqueeze(1)).squeeze(1)
    keep = valid
    if 0 < min_kept <= int(valid.sum()):
        threshold = max(thresh, prob[valid].sort().values[min_kept - 1].item())
        keep = valid & (prob <= threshold + 1e-12)
    return F.cross_entropy(logits.movedim(1, -1)[keep], true_class[keep])


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    thresh=st.floats(0.01, 1.0),
    min_kept=st.integers(0, 140),
    ignored=st.sampled_from([0.0, 0.2, 0.9, 1.0]),
    ignore_label=st.sampled_from([255, 3, -1]),
)
def test_equals_the_sorting_reference(seed, scale, thresh, min_kept, ignored, ignore_label):
    rng = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, 3, (2, 8, 8), generator=rng)
    labels[torch.rand(2, 8, 8, generator=rng) < ignored] = ignore_label
    criterion = OhemCrossEntropy(thresh, min_kept, ignore_label)
    found, expected = (
        f(logits, labels) for f in (criterion, lambda *a: sorted_reference(*a, thresh, min_kept, ignore_label))
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (found, expected)))


@pytest.mark.parametrize("min_kept", [1, 50, 127, 128])
def test_selecting_on_other_devices_keeps_the_same_pixels(min_kept):
    criterion = OhemCrossEntropy(0.2, min_kept)
    cross_entropy = -torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0)).log()
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    limit = criterion._limit_by_counting(cross_entropy, valid)
    assert torch.equal(cross_entropy >= limit, criterion.hard_pixels(cross_entropy, valid))
    assert int((cross_entropy >= limit).sum()) >= min_kept


@pytest.mark.parametrize("options", [{"thresh": 0.0}, {"thresh": 1.5}, {"min_kept": -1}])
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        OhemCrossEntropy(**options)
