"""The short form of `make faults`: every fault can still be applied, and two quick ones are noticed."""

from dataclasses import replace as changed

import pytest

from tests.campaigns.faults.__main__ import ROOT, copy_tree, notice, replace
from tests.campaigns.faults.faults import FAULTS

QUICK = ("the learning rate is one step ahead", "the sampler is shifted by one batch after a resume")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_text_stands_where_it_did(fault):
    faulty = replace((ROOT / fault.file).read_text(), fault)
    compile(faulty, fault.file, "exec")
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists() and f"def {name}" in ((ROOT / path).read_text() if name else "def ")


def test_names_are_unique():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 10


def test_a_text_that_is_gone_is_said():
    with pytest.raises(ValueError, match="0 times"):
        replace("nothing", FAULTS[0])


@pytest.mark.slow
def test_quick_faults_are_noticed_and_undone(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    for fault in FAULTS:
        if fault.name in QUICK:
            noticed, said = notice(tree, fault)
            assert noticed and said.startswith(fault.tests[0]), said
            assert (tree / fault.file).read_text() == (ROOT / fault.file).read_text()
    harmless = changed(FAULTS[1], new=FAULTS[1].old + "  # the same")
    assert not notice(tree, harmless)[0]
