"""Damage to bytes that fits any file."""

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator


def flip_bits(data: bytes, rng: Rng) -> bytes:
    """One to eight bits are the other way round."""
    damaged = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def zero_block(data: bytes, rng: Rng) -> bytes:
    """A disk's or a network's block is zeros."""
    start, length = int(rng.integers(len(data))), int(2 ** rng.integers(3, 13))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def cut(data: bytes, rng: Rng) -> bytes:
    """The end is missing."""
    return data[: rng.integers(len(data))]


def repeat(data: bytes, rng: Rng) -> bytes:
    """A part stands there twice."""
    start, end = np.sort(rng.integers(0, len(data), 2))
    return data[:end] + data[start:end] + data[end:]


def insert(data: bytes, rng: Rng) -> bytes:
    """Random bytes stand somewhere."""
    place = rng.integers(len(data))
    return data[:place] + rng.bytes(int(rng.integers(1, 64))) + data[place:]


def remove(data: bytes, rng: Rng) -> bytes:
    """A part is missing."""
    start, end = np.sort(rng.integers(0, len(data), 2))
    return data[:start] + data[end:]


def extreme_number(data: bytes, rng: Rng) -> bytes:
    """A field, most often of the header, holds a number that programs stumble over."""
    size = int(rng.choice([1, 2, 4, 8]))
    place = int(rng.integers(min(len(data), 64) if rng.random() < 0.7 else len(data)))
    numbers = (0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, int(rng.integers(1 << 16)))
    number = numbers[rng.integers(len(numbers))] % (1 << 8 * size)
    return data[:place] + number.to_bytes(size, ("big", "little")[rng.integers(2)]) + data[place + size :]


def append(data: bytes, rng: Rng) -> bytes:
    """Something follows the end."""
    return data + rng.bytes(int(rng.integers(1, 512)))


def noise(data: bytes, rng: Rng) -> bytes:
    """Nothing is left of the file."""
    return rng.bytes(int(rng.integers(0, 300)))


MUTATIONS: list[Callable[[bytes, Rng], bytes]] = [
    flip_bits,
    zero_block,
    cut,
    repeat,
    insert,
    remove,
    extreme_number,
    append,
    noise,
]


def mutate(data: bytes, rng: Rng) -> bytes:
    """One to three of the above."""
    for _ in range(rng.integers(1, 4)):
        if data:
            data = MUTATIONS[rng.integers(len(MUTATIONS))](data, rng)
    return data
