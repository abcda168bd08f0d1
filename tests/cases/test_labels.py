"""Labels that don't mean what their user thinks."""

from tests.cases.common import make


def test_a_healthy_set_trains_without_a_warning(programs, tmp_path):
    code, text = programs.train(make(tmp_path / "data"))
    assert code == 0 and "WARNING" not in text
