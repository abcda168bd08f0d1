"""How sure the model is: the reliability diagram, risk by coverage, and figures."""

from collections.abc import Mapping

import numpy as np

from engine.evaluation.confidence import AGREEMENT, CONFIDENCE
from engine.evaluation.scoring import Evaluation
from engine.report.charts import Chart
from engine.report.tables import Table
from utils.metrics.calibration import BINS, risk_at

COVERAGES = np.arange(1, 21) / 20
TITLES = {CONFIDENCE: "probability of the label", AGREEMENT: "agreement of the passes"}


def confidence_section(evaluation: Evaluation, result: Mapping) -> dict:
    """Charts and tables of what `confidence_scores.confidence_result` gave, and the counts behind it."""
    kinds = [name for name in TITLES if name in result]
    risks = {TITLES[name]: (100 * risk_at(evaluation.total(f"{name}_ranks"), COVERAGES)).tolist() for name in kinds}
    columns = {"measure": "text", "calibration error (ECE) %": "percent", "95 % interval": "interval2"}
    columns |= {"risk-coverage area (AURC) %": "percent", "95 % interval ": "interval2"}
    rows = []
    for name in kinds:
        row = result[name]
        rows.append([TITLES[name], row["ece"], row["intervals"]["ece"], row["aurc"], row["intervals"]["aurc"]])
    x, x_title = (100 * COVERAGES).tolist(), "coverage: share of the pixels, %"
    return {
        "reliability": _reliability_chart(result[CONFIDENCE]["reliability"]),
        "risk": Chart("Errors among the surest pixels, %", x_title, x, risks, fractions=False),
        "table": Table(columns, rows),
        "bins": _bin_table(result[CONFIDENCE]["reliability"]),
        "temperature": result[CONFIDENCE]["temperature"],
        "passes": result.get(AGREEMENT, {}).get("passes", 1),
    }


def _reliability_chart(bins: Mapping) -> Chart:
    """Accuracy over mean confidence, of the bins that hold pixels."""
    filled = [i for i, pixels in enumerate(bins["pixels"]) if pixels]
    sure = [bins["certainty"][i] for i in filled]
    lines = {"accuracy": [bins["accuracy"][i] for i in filled], "perfect calibration": sure}
    return Chart("Reliability: accuracy by confidence, %", "confidence, %", [100 * x for x in sure], lines)


def _bin_table(bins: Mapping) -> Table:
    """A row for each bin."""
    columns = {"confidence": "text", "pixels": "count", "% of pixels": "percent"}
    columns |= {"mean confidence %": "percent", "accuracy %": "percent"}
    total = sum(bins["pixels"])
    rows = [
        [f"{100 * i / BINS:.1f} to {100 * (i + 1) / BINS:.1f} %", pixels, pixels / total, certainty, accuracy]
        for i, (pixels, certainty, accuracy) in enumerate(zip(*bins.values(), strict=True))
    ]
    return Table(columns, rows)
