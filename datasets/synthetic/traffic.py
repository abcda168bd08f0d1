"""What moves or stands in a synthetic street, and where."""

from collections.abc import Callable

import numpy as np

from datasets.synthetic.canvas import Canvas
from datasets.synthetic.cars import car, truck
from datasets.synthetic.colors import Mood
from datasets.synthetic.ground import Side
from datasets.synthetic.people import bicycle, biker, cyclist, motorcycle, person
from datasets.synthetic.poles import bin_or_box, pole, street_lamp, traffic_light, traffic_sign, tree
from datasets.synthetic.transit import bus, rails, train


class Traffic:
    """Places what moves or stands in the street where it is seen, and draws it from far to near."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator, sides: tuple[Side, Side], mood: Mood) -> None:
        self.canvas, self.rng, self.sides, self.dark = canvas, rng, sides, mood.shadow
        self.items: list[tuple[float, Callable[[], None]]] = []
        self.taken: list[tuple[float, float]] = []  # columns over focal length
        self.plots: list[tuple[float, float, float, float]] = []  # x0, x1, z0, z1 on the ground

    def draw(self) -> None:
        """Choose, place and draw."""
        self._vehicles()
        self._two_wheelers()
        self._pedestrians()
        self._furniture()
        for _, make in sorted(self.items, key=lambda item: -item[0]):
            make()

    def _vehicles(self) -> None:
        rng = self.rng
        for kind, share in ((train, 0.42), (bus, 0.45), (truck, 0.5)):
            if rng.random() < share:
                self._vehicle(kind, 11 if kind is truck else 13, 26)
        for _ in range(int(rng.choice(4, p=[0.1, 0.35, 0.35, 0.2]))):
            self._vehicle(car, 7, 24)

    def _vehicle(self, kind: Callable[..., None], near: float, far: float) -> None:
        """On a lane, along the street in either direction, or crossing it."""
        rng, long = self.rng, {car: 4.3, truck: 7.0, bus: 9.0, train: 14.0}[kind]
        crossing = rng.random() < 0.4
        lean = rng.uniform(-0.3, 0.3)
        turn = (1.0, lean) if crossing else (lean * 0.5, 1.0)
        size = (1 + (lean if crossing else lean * 0.5) ** 2) ** 0.5 * (1 if rng.random() < 0.5 else -1)
        heading = (turn[0] / size, turn[1] / size)
        reach = 3.5 if crossing else 1.0
        wide, deep = (long, 2.6) if crossing else (2.6, long)
        left, right = -self.sides[0].curb + 0.8, self.sides[1].curb - 0.8
        x, z = self._spot(left * reach, right * reach, near if crossing else near * 0.7, far, wide, deep)
        if kind is train:
            rails(self.canvas, x, z + deep / 2, heading)
        self.items.append((z, lambda: kind(self.canvas, rng, x, z + deep / 2, heading, self.dark)))

    def _two_wheelers(self) -> None:
        rng = self.rng
        for kind, share in ((cyclist, 0.5), (biker, 0.5), (bicycle, 0.35), (motorcycle, 0.4)):
            if rng.random() < share:
                turn = rng.uniform(-0.7, 0.7)
                size = (1 + turn * turn) ** 0.5 * (1 if rng.random() < 0.5 else -1)
                ridden = kind in (cyclist, biker)
                left, right = (
                    (-self.sides[0].curb, self.sides[1].curb) if ridden else (-self.sides[0].line, self.sides[1].line)
                )
                x, z = self._spot(left, right, 5.5, 12 if ridden else 10, 2.2)
                self._add(z, kind, x, z, (1 / size, turn / size))

    def _pedestrians(self) -> None:
        rng = self.rng
        for _ in range(int(rng.choice(5, p=[0.08, 0.24, 0.28, 0.24, 0.16]))):
            x, z = self._spot(-self.sides[0].line, self.sides[1].line, 4.5, 9, 0.8)
            self._add(z, person, x, z)

    def _furniture(self) -> None:
        kinds = (
            (traffic_light, 0.85, 5.5, 12),
            (traffic_light, 0.6, 6, 16),
            (traffic_sign, 0.9, 5, 11),
            (traffic_sign, 0.65, 6, 15),
        )
        kinds += (
            (street_lamp, 0.7, 5.5, 14),
            (street_lamp, 0.5, 6, 22),
            (tree, 0.7, 7, 16),
            (tree, 0.5, 9, 22),
            (bin_or_box, 0.3, 6, 12),
        )
        for kind, share, near, far in kinds:
            if self.rng.random() < share:
                x, z = self._roadside(near, far)
                self._add(z, kind, x, z)
        if self.rng.random() < 0.4:  # a row of bollards
            x, z = self._roadside(5, 9)
            for step in range(3):
                self._add(z + 2 * step, pole, x, z + 2 * step, 1.0, 0.18)

    def _roadside(self, near: float, far: float) -> tuple[float, float]:
        side = self.sides[self.rng.choice(2)]
        ends = sorted((side.sign * (side.curb + 0.3), side.sign * (side.line - 0.2)))
        return self._spot(ends[0], ends[1], near, far, 0.7)

    def _add(self, depth: float, kind: Callable[..., object], x: float, z: float, *rest: object) -> None:
        """Put off a drawing until its turn from far to near."""
        heading = [r for r in rest if isinstance(r, tuple)]
        plain = [r for r in rest if not isinstance(r, tuple)]
        self.items.append((depth, lambda: kind(self.canvas, self.rng, x, z, *heading, self.dark, *plain)))

    def _spot(
        self, left: float, right: float, near: float, far: float, wide: float, deep: float = 0.6
    ) -> tuple[float, float]:
        """The best of a few random places: inside the image, free, and neither hidden nor hiding others.

        Args:
            left, right: Range of the centre's x.
            near, far: Range of the near end's z.
            wide, deep: Room that is taken, in metres.

        Returns:
            x of the centre, z of the near end.
        """
        camera, best = self.canvas.camera, (-9.0, 0.0, near)
        edges = (-camera.drift / camera.focal, (camera.width - camera.drift) / camera.focal)
        for _ in range(8):
            x, z = self.rng.uniform(left, right), near * (far / near) ** self.rng.random()
            low, high = (x - wide / 2) / z, (x + wide / 2) / z
            shown = max(0.0, min(high, edges[1]) - max(low, edges[0]))
            hidden = sum(max(0.0, min(high, b) - max(low, a)) for a, b in self.taken)
            clash = any(
                x - wide / 2 < x1 and x + wide / 2 > x0 and z < z1 and z + deep > z0 for x0, x1, z0, z1 in self.plots
            )
            best = max(best, ((shown - hidden) / (high - low) - 3 * clash, x, z))
        _, x, z = best
        self.taken.append(((x - wide / 2) / z, (x + wide / 2) / z))
        self.plots.append((x - wide / 2, x + wide / 2, z, z + deep))
        return x, z
