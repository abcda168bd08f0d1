"""CutMix and ClassMix: what is pasted, from where, how often, and that nothing else changes."""

import pytest
import torch

from config import parse_train
from transforms import AugmentOptions, build_train_transform
from transforms.mixing import BatchMixing
from utils.errors import OptionError

CPU = torch.device("cpu")


def make_batch(count=4, size=(40, 60)) -> dict:
    """Crops of three classes and ignored pixels; the image says crop and label, so that pixels can be traced."""
    label = torch.arange(size[1]).remainder(4).expand(count, *size).clone()
    label = label + 10 * torch.arange(count).view(-1, 1, 1)
    label[label % 10 == 3] = 255
    crop = torch.arange(count).view(-1, 1, 1).expand_as(label)
    return {"image": torch.stack([crop, label, label], 1).float(), "label": label, "name": ["a"] * count}


def mixed_by(cutmix: float, classmix: float, seed: int = 0, **more):
    """The batch, the batch made of it, and the pixels, bool (B,H,W), that come from the crop before."""
    batch = make_batch(**more)
    torch.manual_seed(seed)
    found = BatchMixing(CPU, cutmix, classmix)(batch)
    count = len(batch["label"])
    crop = torch.arange(count).view(-1, 1, 1)
    pasted = found["image"][:, 0] == (crop - 1) % count
    assert (pasted | (found["image"][:, 0] == crop)).all() and found["name"] == batch["name"]
    assert torch.equal(found["image"][:, 1].long(), found["label"])  # label and image move together
    assert torch.equal(found["label"], torch.where(pasted, batch["label"].roll(1, 0), batch["label"]))
    return batch, found, pasted


def test_cutmix_pastes_a_box_of_every_size():
    shares = []
    for seed in range(20):
        _, _, pasted = mixed_by(1, 0, seed)
        for mask in pasted:
            assert torch.equal(mask, mask.any(1)[:, None] & mask.any(0)[None])  # a box
            rows = mask.any(1).nonzero()
            assert len(rows) == 0 or len(rows) == rows.max() - rows.min() + 1
            shares.append(mask.float().mean().item())
    assert min(shares) < 0.1 and max(shares) > 0.6 and 0.2 < sum(shares) / len(shares) < 0.5


def test_classmix_pastes_half_of_the_classes_whole_and_never_what_is_ignored():
    chosen = set()
    for seed in range(10):
        batch, _, pasted = mixed_by(0, 1, seed)
        for mask, source in zip(pasted, batch["label"].roll(1, 0), strict=True):
            classes = source[mask].unique()
            assert len(classes) == 2 and 255 not in classes  # half of three, rounded up
            assert torch.equal(mask, torch.isin(source, classes))
            chosen.add(tuple((classes % 10).tolist()))
    assert chosen == {(0, 1), (0, 2), (1, 2)}


def test_a_crop_is_mixed_as_often_as_asked_and_once():
    mixed = [tuple(mask.any().item() for mask in mixed_by(0.2, 0.3, seed, count=8)[2]) for seed in range(40)]
    assert sum(map(sum, mixed)) == pytest.approx(0.5 * 8 * 40, abs=25)
    batch, found, pasted = mixed_by(0, 0)
    assert not pasted.any() and torch.equal(found["label"], batch["label"])
    assert not mixed_by(1, 0, count=1)[2].logical_not().any()  # its own source


def test_equal_seeds_mix_alike_and_without_the_options_nothing_is_built():
    assert torch.equal(mixed_by(0.5, 0.5, 3)[1]["image"], mixed_by(0.5, 0.5, 3)[1]["image"])
    assert build_train_transform(AugmentOptions(), CPU)[1] is None
    batch = make_batch()
    _, augment = build_train_transform(AugmentOptions(cutmix=1.0), CPU)
    torch.manual_seed(0)
    assert torch.equal(augment(batch)["label"], mixed_by(1, 0)[1]["label"])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--cutmix 1.1", "--cutmix 1.1.*from 0 to 1"),
        ("--classmix -1", "--classmix -1"),
        ("--cutmix 0.6 --classmix 0.6", "--cutmix and --classmix 1.2.*at most 1"),
        ("--cutmix 0.5 --bs_mult 1", "--bs_mult 1.*--cutmix"),
    ],
)
def test_values_that_cannot_work(argv, words):
    with pytest.raises(OptionError, match=words):
        parse_train(argv.split())
