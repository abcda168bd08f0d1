"""What every case starts from."""

from pathlib import Path

import pytest

from tests.cases.common import Programs


@pytest.fixture
def programs(capsys: pytest.CaptureFixture, tmp_path: Path) -> Programs:
    return Programs(capsys, tmp_path / "runs")
