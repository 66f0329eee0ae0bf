from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion import (
    Channel,
    DeepDream,
    Direction,
    Logit,
    Neuron,
    Objective,
    Pattern,
    invert,
    optimise,
    score,
)

GREY = torch.full((1, 16, 16, 3), 128, dtype=torch.uint8)


def logits_of(feature_map):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        head = nn.Linear(24, 4).requires_grad_(False)
    return lambda images: head(feature_map(images).mean((2, 3)))


# Two channels side by side, and one above the other; the middle position has none of the first.
PATTERNS = torch.zeros(2, 24, 3, 3)
PATTERNS[0, 1, 1, 0] = PATTERNS[0, 7, 1, 2] = 1
PATTERNS[1, 1, 0, 1] = PATTERNS[1, 7, 2, 1] = 2


OBJECTIVES = {
    "channel": lambda f: Channel(f, [1, 7]),
    "neuron": lambda f: Neuron(f, [1, 7]),
    "neuron in a corner": lambda f: Neuron(f, [1, 7], position=(0, 0)),
    "logit": lambda f: Logit(logits_of(f), [0, 2]),
    "pattern": lambda f: Pattern(f, PATTERNS),
    "deep dream": lambda f: DeepDream(f, 2),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_rises_far_above_grey(feature_map, settings, name):
    objective = OBJECTIVES[name](feature_map)
    drawn = optimise(objective, [1, 2], settings)
    assert drawn.images.shape == (2, 16, 16, 3)
    reached, grey = score(objective, drawn.images), score(objective, GREY.expand(2, -1, -1, -1))
    assert (reached > grey + 0.3 * grey.abs() + 0.1).all()
    alone = optimise(objective, [1, 2], settings, batch_size=1)
    assert (alone.images.int() - drawn.images.int()).abs().max() <= 2


def test_channels_and_classes_are_the_icons_own(feature_map):
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = feature_map(image)
    second = torch.tensor([1])
    assert Channel(feature_map, [1, 7])(image, second).item() == pytest.approx(maps[0, 7].mean().item())
    assert Neuron(feature_map, [1, 7])(image, second).item() == maps[0, 7, 2, 2].item()
    assert Neuron(feature_map, [1, 7], (0, 1))(image, second).item() == maps[0, 7, 0, 1].item()
    logits = logits_of(feature_map)
    assert Logit(logits, [0, 2])(image, second).item() == logits(image)[0, 2].item()
    assert DeepDream(feature_map)(image, second).item() == pytest.approx(maps.square().mean().item())


def test_pattern_of_one_position_scores_as_a_direction(feature_map, directions):
    images = torch.rand(len(directions), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    which = torch.arange(len(directions))
    as_pattern = Pattern(feature_map, directions[:, :, None, None])(images, which)
    torch.testing.assert_close(as_pattern, Direction(feature_map, directions)(images, which))
    alone = torch.zeros(len(directions), directions.shape[1], 3, 3)
    alone[:, :, 1, 1] = directions
    torch.testing.assert_close(Pattern(feature_map, alone)(images, which), as_pattern)


def test_pattern_that_does_not_fit_the_map_is_refused(feature_map):
    images = torch.rand(1, 3, 16, 16)
    for pattern in (torch.rand(1, 24, 9, 9), torch.rand(1, 23, 3, 3)):
        with pytest.raises(ModelError, match="does not fit into a map of 24 channels"):
            Pattern(feature_map, pattern)(images, torch.tensor([0]))


def test_direction_is_what_invert_maximises(feature_map, directions, settings):
    icons = invert(feature_map, directions, [1, 2, 3, 4, 5, 6], settings)
    objective = Direction(feature_map, directions)
    drawn = optimise(objective, [1, 2, 3, 4, 5, 6], settings)
    assert torch.equal(drawn.images, icons.images)
    torch.testing.assert_close(score(objective, drawn.images), icons.objective)


def test_an_objective_of_one_s_own(feature_map, settings):
    class Brightness(Objective):
        num_icons = 1

        def outputs(self, images):
            return images

        def scores(self, outputs, which):
            return outputs.mean((1, 2, 3))

    drawn = optimise(Brightness(), [1], settings)
    assert drawn.images.float().mean() > 200


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch):
    """Run the first Python block of docs/inversion.md with only the number of steps changed."""
    text = (Path(__file__).parents[2] / "docs" / "inversion.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    assert "steps=128" in code
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("steps=128", "steps=2"), "docs/inversion.md", "exec"), {})
    assert Image.open("logits.png").size == (10 * 64, 64)
