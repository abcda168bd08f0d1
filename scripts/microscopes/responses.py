"""What the learned filters let through: the frequency response of each, and its mean over a ring of frequencies."""

import math

import numpy as np

from network.parts.enhancement import FeatureFilter

SIZE = 64  # of the FFT, to each side: steps of 1/64 cycles per pixel
DIGITS = 5
SPREAD = (10, 90)  # percentiles over the channels
HIGH = 0.25  # cycles per pixel, from which on a frequency is called high: periods of at most 4 pixels


def frequency_response(kernels: np.ndarray) -> np.ndarray:
    """Kernels (C,k,k), whose centre is the origin -> (C,n,n) complex128, frequencies as `np.fft.fftfreq` has them.

    A kernel is padded with zeros to n, a multiple of `SIZE`.
    """
    channels, side, _ = kernels.shape
    size = SIZE * math.ceil(side / SIZE)
    padded = np.zeros((channels, size, size))
    padded[:, :side, :side] = kernels
    return np.fft.fft2(np.roll(padded, (-(side // 2), -(side // 2)), axis=(1, 2)))


def rings(size: int) -> np.ndarray:
    """(size,size) int: each frequency's distance from 0, rounded, in steps of 1/size cycles per pixel."""
    frequency = np.fft.fftfreq(size) * size
    return np.hypot(*np.meshgrid(frequency, frequency, indexing="ij")).round().astype(int)


def radial_mean(gains: np.ndarray) -> np.ndarray:
    """Gains (C,size,size) -> (C,size/2 + 1): their mean at 0, 1/size, ..., 0.5 cycles per pixel, in any direction."""
    size = gains.shape[-1]
    ring, last = rings(size).ravel(), size // 2
    kept = ring <= last
    pixels = np.bincount(ring[kept])
    return np.stack([np.bincount(ring[kept], row.ravel()[kept]) / pixels for row in gains])


def describe_filter(layer: FeatureFilter) -> dict:
    """A module's filters as plain data.

    Returns:
        `channels`, `side`, `padding`, `smooth` (what the module gets is D(x), not x - D(x)); `frequency`: cycles per
        pixel; `filter` and `answer`: gain of D and of what the module gets, each with `mean`, `low`, `high` over the
        channels and `mean_filter`; `sum`: of D's weights, which the mean filter has 1, with `mean`, `low`, `high`;
        `change`: root mean square of D - mean filter, in units of the latter's weight, `mean`, `low`, `high`;
        `high_gain`: the answer's mean gain over frequencies from `HIGH` to 0.5, of the learned filters and of the mean
        filter.
    """
    smoothing = weights_of(layer)
    channels, side, _ = smoothing.shape
    learned, mean = (_gains(weights, layer.smooth) for weights in (smoothing, mean_of(side)))
    curves = {
        name: _over_channels(rows) | {"mean_filter": mean[name][0].round(DIGITS).tolist()}
        for name, rows in learned.items()
    }
    bins = learned["filter"].shape[1]
    frequency = 0.5 * np.arange(bins) / (bins - 1)
    high = {key: np.array(curves["answer"][key])[frequency >= HIGH].mean() for key in ("mean", "mean_filter")}
    return {
        "channels": channels,
        "side": side,
        "padding": layer.padding,
        "smooth": layer.smooth,
        "sum": _over_channels(smoothing.sum(axis=(1, 2))),
        "change": _over_channels(np.sqrt(((smoothing * side**2 - 1) ** 2).mean(axis=(1, 2)))),
        "high_gain": {key: round(float(gain), DIGITS) for key, gain in high.items()},
        "frequency": frequency.tolist(),
        **curves,
    }


def weights_of(layer: FeatureFilter) -> np.ndarray:
    """The smoothing filters D (C,k,k) float64."""
    return layer.smoothing().detach().cpu().double().numpy()[:, 0]


def mean_of(side: int) -> np.ndarray:
    """The mean filter (1,side,side)."""
    return np.full((1, side, side), 1 / side**2)


def _gains(smoothing: np.ndarray, smooth: bool) -> dict[str, np.ndarray]:
    """Radial means (C,n/2 + 1): `filter` of |D|, and `answer` of what the module gets: |D| again, or |1 - D|."""
    response = frequency_response(smoothing)
    answer = response if smooth else 1 - response
    return {"filter": radial_mean(np.abs(response)), "answer": radial_mean(np.abs(answer))}


def _over_channels(values: np.ndarray) -> dict[str, float | list[float]]:
    """Mean and spread over the first axis."""
    low, high = np.percentile(values, SPREAD, axis=0)
    rows = {"mean": values.mean(axis=0), "low": low, "high": high}
    return {name: row.round(DIGITS).tolist() for name, row in rows.items()}
