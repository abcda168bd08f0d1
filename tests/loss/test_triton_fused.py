"""The loss in Triton: in its interpreter, and where there is a GPU, on it."""

from tests.interpreted import each_way, run_cases


@each_way
def test_cases(way):
    run_cases("tests/loss/triton_cases.py", way)
