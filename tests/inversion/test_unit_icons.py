"""Icons of units: for and against, over the map, and a diverse set; none depends on its batch."""

import pytest
import torch

from atlas_pipeline.inversion import Channel, InversionSettings, Neuron, optimise, score
from atlas_pipeline.inversion.unit_icons import (
    CentreNeuron,
    UnitIconSettings,
    likeness,
    standardised,
    unit_icons,
)

GREY = torch.full((1, 16, 16, 3), 128, dtype=torch.uint8)
UNITS = [1, 7, 20]


def how(**changed):
    kinds = ("neuron", "negative", "channel", "channel_negative", "diverse")
    given = {"kinds": kinds, "num_diverse": 2, "diversity": 1.0, "seed": 3}
    return UnitIconSettings(**{**given, "inversion": InversionSettings(size_px=16, steps=24), **changed})


@pytest.fixture(scope="module")
def values_map(feature_map):
    """The network without its last ReLU."""
    return feature_map[:-1]


@pytest.fixture(scope="module")
def spread():
    return torch.zeros(24), torch.full((24,), 0.5)


def by_kind(feature_map, spread, settings, units=UNITS):
    return {icons.kind: icons for icons in unit_icons(feature_map, units, settings, *spread)}


def test_icons_drive_their_unit_up_or_down(values_map, spread):
    found = by_kind(values_map, spread, how())
    kinds = ["neuron", "negative", "channel", "channel_negative", "diverse-1", "diverse-2"]
    assert list(found) == kinds
    for goal, up, down in ((Neuron, "neuron", "negative"), (Channel, "channel", "channel_negative")):
        grey = score(goal(values_map, UNITS), GREY.expand(3, -1, -1, -1))
        assert (found[up].values > grey + 0.1).all()
        assert (found[down].values < grey - 0.05).all()
        for kind in (up, down):
            # The value is that of the finished picture, with its own sign.
            torch.testing.assert_close(found[kind].values, score(goal(values_map, UNITS), found[kind].images))


def test_without_signs_neuron_and_channel_are_as_before(values_map):
    settings = InversionSettings(size_px=16, steps=12)
    for goal in (Neuron, Channel):
        plain = optimise(goal(values_map, UNITS), [1, 2, 3], settings)
        signed = optimise(goal(values_map, UNITS, signs=[1.0] * 3), [1, 2, 3], settings)
        assert torch.equal(plain.images, signed.images)


def test_the_diverse_set_is_less_alike_with_the_penalty_than_without(values_map, spread):
    mean, sd = spread

    def mean_likeness(settings):
        found = by_kind(values_map, spread, settings)
        maps = [
            standardised(values_map(found[kind].images.permute(0, 3, 1, 2) / 255), mean, sd)
            for kind in ("neuron", "diverse-1", "diverse-2")
        ]
        pairs = ((0, 1), (0, 2), (1, 2))
        values = torch.stack([found[kind].values for kind in ("diverse-1", "diverse-2")])
        return torch.stack([likeness(maps[a], maps[b]) for a, b in pairs]).mean(), values

    alike, driven = mean_likeness(how(diversity=0.0))
    unlike, still_driven = mean_likeness(how(diversity=2.0))
    assert unlike < alike - 0.02
    # The unit is still driven up.
    grey = score(CentreNeuron(values_map, UNITS), GREY.expand(3, -1, -1, -1))
    assert (still_driven > grey).all()
    assert (driven > grey).all()


def test_an_icon_does_not_depend_on_the_units_made_with_it(values_map, spread):
    together = by_kind(values_map, spread, how())
    alone = by_kind(values_map, spread, how(), units=[7])
    for kind, icons in alone.items():
        assert (icons.images[0].int() - together[kind].images[1].int()).abs().max() <= 2, kind


def test_likeness_is_the_cosine_of_gram_matrices():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(5, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    first, second = (maps @ maps.T for maps in (one, other))
    wanted = (first * second).sum() / (first.norm() * second.norm())
    assert likeness(one, other).item() == pytest.approx(wanted.item())
    assert likeness(one, 3 * one).item() == pytest.approx(1)


def test_the_diverse_set_alone_also_gives_the_neuron_it_is_unlike(values_map, spread):
    assert list(by_kind(values_map, spread, how(kinds=("diverse",), num_diverse=1))) == [
        "neuron",
        "diverse-1",
    ]
