"""Names that the releases give their models: those that are here, and what comes nearest to the others."""

from difflib import get_close_matches

_FENET, _SFNET = "network.fenet_resnet_conv_2b_2d.", "network.sfnet_resnet."
ALIASES: dict[str, tuple[str, dict]] = {  # old dotted name -> registered name, options that it implies
    f"{_FENET}DeepR18_FE_deeply": ("fenet_r18", {"aux": False}),
    f"{_FENET}DeepR18_FE_deeply_completely": ("fenet_r18", {}),
    f"{_FENET}DeepR50_FE_deeply_completely": ("fenet_r50", {}),
    f"{_FENET}DeepR101_FE_deeply_completely": ("fenet_r101", {}),
    f"{_SFNET}DeepR18_SF_deeply": ("sfnet_r18", {}),
    f"{_SFNET}DeepR50_SF_deeply": ("sfnet_r50", {}),
    f"{_SFNET}DeepR101_SF_deeply": ("sfnet_r101", {}),
    f"{_SFNET}DeepR18_SFV2_deeply_dsn_FA_Atten": ("sfnet_lite_r18", {}),
}
_LIGHT = "sfnet_lite_r18, or --arch sfnet --backbone NAME with a light encoder of timm"
_OUTSIDE = {  # module of the SFNet release -> its model, the nearest one here
    "network.sfnet_dfnet": ("SFNet on DFNet", _LIGHT),
    "network.sfnet_stdcnet": ("SFNet on STDC", _LIGHT),
    "network.pspnet": ("PSPNet", "smp_pspnet --backbone resnet50"),
    "network.deeplabv3": ("DeepLabv3", "smp_deeplabv3plus --backbone resnet50"),
}


def is_release_name(arch: str | None) -> bool:
    """True for an old dotted name of a model that is here."""
    return arch in ALIASES


def explain_absence(arch: str) -> str | None:
    """Of a dotted name that isn't here: what it is and what comes nearest to it; None for any other name."""
    module, _, name = arch.rpartition(".")
    plain = f"{module or _SFNET.rstrip('.')}.{name.removesuffix('_dsn')}"
    if name.endswith("_dsn") and plain in ALIASES:
        model = ALIASES[plain][0]
        return f"the release's {model} with auxiliary heads isn't here; the nearest is --arch {model} --aux"
    if module in _OUTSIDE:
        what, nearest = _OUTSIDE[module]
        return f"{what} is not part of this family; the nearest here is --arch {nearest}"
    close = get_close_matches(arch, ALIASES, 1)
    if module.startswith("network") and close:
        return (
            f"no model of the releases that are here; the nearest is --arch {close[0]}, which is {ALIASES[close[0]][0]}"
        )
    return None
