"""Ask the package imagecorruptions-imaug what fifteen corruptions make of five pictures; tests/data/corruptions.npz.

    python -m venv V && V/bin/pip install --no-deps imagecorruptions-imaug
    V/bin/pip install numpy scipy scikit-image opencv-python-headless Pillow numba
    V/bin/python tests/oracles/corruptions.py tests/data/corruptions.npz

The random ones are given a seeded generator of NumPy, so that ours can draw the same numbers. Kept of each result: the
means of 4 x 4 blocks of each channel, in 1/64 of a level, and 48 of its pixels. Frost gets photos made of noise.
"""

import sys

import numpy as np

SIZES = [(48, 64), (33, 57), (64, 64), (40, 96), (97, 72)]  # of the pictures, (height, width)
PHOTO_SIZES = [(120, 160), (60, 200), (200, 60), (40, 40), (100, 100), (150, 110)]
BLOCKS, PIXELS = 4, 48


def make_pictures() -> list[np.ndarray]:
    """Five pictures, RGB (H,W,3) uint8: patches of one colour with a gradient and a little noise."""
    pictures = []
    for seed, (height, width) in enumerate(SIZES):
        rng = np.random.default_rng(seed)
        colors = rng.integers(0, 200, (height // 12 + 1, width // 12 + 1, 3))
        patches = colors.repeat(12, 0).repeat(12, 1)[:height, :width]
        noise = rng.integers(0, 16, (height, width, 3)) + 40 * np.arange(width)[:, None] // width
        pictures.append((patches + noise).astype(np.uint8))
    return pictures


def make_photo(number: int) -> np.ndarray:
    """In place of the photo frost`number`: RGB (H,W,3) uint8."""
    return np.random.default_rng(number).integers(0, 256, (*PHOTO_SIZES[number - 1], 3), dtype=np.uint8)


def seed_of(picture: int, corruption: int, strength: int) -> int:
    """Of the numbers that a random corruption draws."""
    return 1000 * picture + 10 * corruption + strength


def digest(image: np.ndarray, picture: int) -> tuple[np.ndarray, np.ndarray]:
    """Block means (4,4,3) uint16, in 1/64 of a level, and pixels (48,3) uint8."""
    height, width = image.shape[:2]
    edges = [np.linspace(0, side, BLOCKS + 1).astype(int) for side in (height, width)]
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.int64), edges[0][:-1], 0), edges[1][:-1], 1)
    areas = np.diff(edges[0])[:, None, None] * np.diff(edges[1])[:, None]
    places = np.random.default_rng(picture).permutation(height * width)[:PIXELS]
    return np.rint(64 * sums / areas).astype(np.uint16), image.reshape(-1, 3)[places]


def ask(pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """`names`, `means` (pictures,15,5,4,4,3) and `pixels` (pictures,15,5,48,3) of the package's results."""
    import imagecorruptions
    from imagecorruptions import corruptions

    def read_photo(path):
        return make_photo(int(str(path).rsplit(".", 1)[0][-1]))[..., ::-1]

    corruptions.cv2.imread = read_photo
    shuffle = corruptions._shuffle_pixels_njit_glass_blur.py_func  # Numba's generator draws other numbers
    corruptions._shuffle_pixels_njit_glass_blur = shuffle
    names, kept = imagecorruptions.get_corruption_names(), {}
    for i, picture in enumerate(pictures):
        for c, name in enumerate(names):
            for strength in range(1, 6):
                seed = seed_of(i, c, strength)
                np.random.seed(seed)
                more = {"seed": seed} if name in ("glass_blur", "impulse_noise") else {}
                result = imagecorruptions.corrupt(picture, strength, name, **more)
                kept[i, c, strength] = digest(result, i)
    shape = (len(pictures), len(names), 5)
    means, pixels = (np.stack(part) for part in zip(*kept.values(), strict=True))
    return {
        "names": np.array(names),
        "means": means.reshape(*shape, *means.shape[1:]),
        "pixels": pixels.reshape(*shape, *pixels.shape[1:]),
    }


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **ask(make_pictures()))
