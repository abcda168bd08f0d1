"""Defocus, glass, motion and zoom blur."""

import cv2
import numpy as np

from transforms.corruptions.filters import RGB, enlarge, gaussian, motion_blur, to_levels


def defocus_blur(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Averages over a disk."""
    radius, softness = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[strength - 1]
    reach, side = (8, 3) if radius <= 8 else (radius, 5)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (side, side), sigmaX=softness)
    return to_levels(cv2.filter2D(image.astype(np.float32), -1, kernel))


def glass_blur(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Blurs, copies each pixel from a random neighbour, several times over, and blurs again."""
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[strength - 1]
    sigmas = sigma, sigma
    soft = to_levels(gaussian(image.astype(np.float32), sigmas, 4, cv2.BORDER_REPLICATE))
    for _ in range(times):
        soft = _copy_neighbours(soft, reach, rng)
    return to_levels(gaussian(soft.astype(np.float32), sigmas, 4, cv2.BORDER_REPLICATE))


def _copy_neighbours(image: RGB, reach: int, rng: np.random.Generator) -> RGB:
    """Each pixel, from the last to the first, becomes one that lies up to `reach` pixels up or left, or fewer down or
    right, as that one is by then.

    The paper says that pixels are swapped; its code, and the copies of it, assign views of one array to each other,
    which copies. That is what was published as glass blur, and what is done here. A pixel that copies a finished one
    has that one's source: chains are followed by doubling instead of pixel by pixel.
    """
    height, width = image.shape[:2]
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    if not (len(rows) and len(columns)):
        return image
    right, down = np.moveaxis(rng.integers(-reach, reach, (len(rows), len(columns), 2)), -1, 0)
    row, column = rows[:, None] + down, columns + right
    place, source = rows[:, None] * width + columns, row * width + column
    finished = (source > place) & (row > reach) & (column > reach) & (row <= rows[0]) & (column <= columns[0])
    pixels = height * width
    chain = pixels + np.arange(2 * pixels) % pixels  # a number of `pixels` or more: the pixel as it was
    chain[place] = np.where(finished, source, pixels + source)
    while (chain[:pixels] < pixels).any():
        chain[:pixels] = chain[chain[:pixels]]
    return image.reshape(pixels, 3)[chain[:pixels] - pixels].reshape(image.shape)


def moving_camera(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """Smears along a line at up to 45 degrees to the horizontal: motion blur."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[strength - 1]
    return to_levels(motion_blur(image.astype(np.float32), radius, sigma, rng.uniform(-45, 45)))


def zoom_blur(image: RGB, strength: int, rng: np.random.Generator) -> RGB:
    """The mean of the image and of ever larger enlargements of its middle."""
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[strength - 1]
    height, width = image.shape[:2]
    values, factors = image.astype(np.float32), np.arange(1, end, step).tolist()
    total = values.copy()
    for factor in factors:
        total += enlarge(values, factor)[:height, :width]
    return to_levels(total / (len(factors) + 1))
