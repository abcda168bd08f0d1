"""The targets by name, with the number of cases of a full campaign."""

from tests.campaigns.fuzz.campaign import Target
from tests.campaigns.fuzz.checkpoints import checkpoints, flips
from tests.campaigns.fuzz.images import images
from tests.campaigns.fuzz.options import options
from tests.campaigns.fuzz.world import World

TARGETS = {"images": 5000, "checkpoints": 2000, "flips": 500, "options": 500}
BUILDERS = {"images": images, "checkpoints": checkpoints, "flips": flips, "options": options}


def build_target(name: str, world: World) -> Target:
    """A target on files of `world`."""
    return BUILDERS[name](world)
