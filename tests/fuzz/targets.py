"""The targets by name, with the number of cases of a full campaign."""

from tests.fuzz.campaign import Target
from tests.fuzz.images import images
from tests.fuzz.world import World

TARGETS = {"images": 5000}
BUILDERS = {"images": images}


def build_target(name: str, world: World) -> Target:
    """A target on files of `world`."""
    return BUILDERS[name](world)
