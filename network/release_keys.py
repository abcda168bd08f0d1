"""State-dict keys of the authors' releases, as pairs of prefixes (theirs, ours)."""

from collections.abc import Iterable


def encoder_rules() -> list[tuple[str, str]]:
    """Prefix pairs of the deep-stem encoder, which the releases keep at the top level of their models."""
    return [
        ("layer0.0.", "encoder.conv1."),
        ("layer0.1.", "encoder.bn1."),
        *((f"layer{i}.", f"encoder.layer{i}.") for i in range(1, 5)),
    ]


def map_keys(our_keys: Iterable[str], rules: list[tuple[str, str]]) -> dict[str, str]:
    """Their key -> our key for each of `our_keys`; `{i}` in a rule stands for an index 0 to 9.

    Raises:
        KeyError: No rule fits a key; that is a mistake in the model's rules.
    """
    pairs = []
    for theirs, ours in rules:
        indices = range(10) if "{i}" in ours else (0,)
        pairs += [(theirs.replace("{i}", str(i)), ours.replace("{i}", str(i))) for i in indices]
    result = {}
    for key in our_keys:
        theirs, ours = next(((t, o) for t, o in pairs if key.startswith(o)), (None, None))
        if theirs is None:
            raise KeyError(f"no release key is known for {key}")
        result[theirs + key.removeprefix(ours)] = key
    return result
