"""A proof finds no fault in a sound network and one specific fault in each faulty network."""

import threading
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from small_networks import TINY, Around, small_network
from token_networks import tokens_network
from torch import nn

from atlas_pipeline.models.calibrate import noise_images, seeded
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.proof import prove
from atlas_pipeline.models.proof_of_layer import LayerUse

CHECKS = ["same twice", "image alone", "position", "map", "cut", "gradient", "attribution"]


class Plain(nn.Module):
    """A sound network with a layer `act` between two convolutions; subclasses override `body` or `tail`."""

    def __init__(self):
        super().__init__()
        self.conv1, self.act = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.conv2, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 5)

    def body(self, x):
        return self.act(self.conv1(x))

    def tail(self, x):
        return self.head(self.conv2(x).relu().mean(dim=(2, 3)))

    def forward(self, x):
        return self.tail(self.body(x))


class Branching(Plain):
    def body(self, x):
        return super().body(x) if x.std() < 1e9 else x


class DroppedByFunction(Plain):
    def tail(self, x):
        return super().tail(F.dropout(x, 0.5))


class AlwaysDropping(nn.Dropout):
    def train(self, mode=True):
        return super().train(True)


class DroppedByModule(Plain):
    def __init__(self):
        super().__init__()
        self.drop = AlwaysDropping(0.5)

    def body(self, x):
        return super().body(self.drop(x))


class RarelyDropped(Plain):
    """Each forward pass zeroes its input with probability 0.25, so two passes usually agree."""

    def body(self, x):
        return super().body(x * (0.0 if torch.rand(()) < 0.25 else 1.0))


class NoStatistics(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def body(self, x):
        return super().body(self.norm(x))


class Centred(Plain):
    def body(self, x):
        return super().body(x - x.mean(dim=0, keepdim=True))


class Squeezed(Plain):
    def tail(self, x):
        return super().tail(x).squeeze()


class Counting(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def body(self, x):
        self.calls += 1
        return super().body(x)


class Frozen(Plain):
    def body(self, x):
        with torch.no_grad():
            values = super().body(x)
        return values if float(values.sum()) < 1e9 else values * 2


class Signed(Plain):
    def body(self, x):
        return super().body(torch.sign(x))


class Locked(Plain):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class OneSize(Plain):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(3, 32, 32))

    def body(self, x):
        return super().body(x + self.position)


class Detached(Plain):
    def tail(self, x):
        return super().tail(x.detach())


class Bypassed(Plain):
    def forward(self, x):
        self.body(x)
        return self.tail(self.conv1(x))


class Probabilities(Plain):
    def tail(self, x):
        return super().tail(x).softmax(dim=1)


class ManyProbabilities(Plain):
    def tail(self, x):
        return super().tail(x).sigmoid()


class Constant(Plain):
    def tail(self, x):
        return super().tail(x) * 0 + 2


class NotANumber(Plain):
    """The output is NaN for images whose first pixel is white."""

    def body(self, x):
        return super().body(x + torch.where(x[:, :1, :1, :1] > 1.9, torch.nan, 0.0))


class NormalisedTail(Plain):
    """The tail uses the activation's direction alone, so the derivative along the activation is zero."""

    def tail(self, x):
        return super().tail(x / (x.norm(dim=1, keepdim=True) + 1e-12))


class Autocast(Plain):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).float()


def sound(module_class=Plain, preprocess=TINY):
    with seeded(3):
        module = module_class()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
    if preprocess is TINY:
        return small_network(module)
    return Network(name="tiny", module=module, preprocess=preprocess, weights_note="")


def images_of(num=4):
    """Noise images; only the third one has a white first pixel."""
    images = noise_images(32, seed=7, num_images=num).clamp(max=0.9)
    images[2, :, 0, 0] = 1.0
    return images


def rows_of(network, layer="act", **use):
    """Map (layer, check) to its row of the proof."""
    use = LayerUse(**{"size_px": 16, **use})
    with seeded(0):
        proof = prove(network, images_of(), {layer: use}, partial(cut, network))
    return {(row.layer, row.check): row for row in proof.rows}


def test_a_sound_network_is_proven():
    rows = rows_of(sound())
    assert [check for layer, check in rows if layer == "act"] == CHECKS
    assert {row.verdict for row in rows.values()} == {"ok"}
    assert rows["act", "attribution"].value < 1e-5
    assert rows["", "image alone"].value < 1e-5


def test_a_network_without_icons_or_attributions_is_not_asked_for_them():
    rows = rows_of(sound(Frozen), size_px=None, attribution="none")
    assert [check for layer, check in rows if layer == "act"] == CHECKS[:4]


@pytest.mark.parametrize(
    ("module_class", "where", "words"),
    [
        (DroppedByFunction, ("", "same twice"), "DroppedByFunction draws random numbers before 'conv2'"),
        (DroppedByModule, ("act", "same twice"), "differ by"),
        (DroppedByModule, ("", "same twice"), "'drop' (AlwaysDropping) is in training mode after eval()"),
        (RarelyDropped, ("act", "same twice"), "differ by"),
        (NoStatistics, ("", "image alone"), "'norm' (BatchNorm2d) has no running statistics"),
        (Centred, ("", "image alone"), "Centred mixes the images of a batch before 'conv1'"),
        (Squeezed, ("", "image alone"), "must return logits of shape (batch, class)"),
        (Frozen, ("act", "gradient"), "remove torch.no_grad()"),
        (Signed, ("act", "gradient"), "is 0: no icon can be made"),
        (OneSize, ("act", "gradient"), "set invert.size_px: 32"),
        (Detached, ("act", "attribution"), "set sample.attribution_method: ablation"),
        (NotANumber, ("act", "map"), "for image 2; check the weights"),
        (NotANumber, ("", "logits"), "for image 2; check the weights"),
    ],
)
def test_what_makes_an_atlas_wrong_fails(module_class, where, words):
    row = rows_of(sound(module_class))[where]
    assert row.verdict == "fails"
    assert words in row.said


@pytest.mark.parametrize(
    ("module_class", "where", "words"),
    [
        (Counting, ("", "state"), "a forward changes the buffer 'calls'"),
        (RarelyDropped, ("", "state"), "draws random numbers"),
        (DroppedByModule, ("", "state"), "'drop' (AlwaysDropping) is in training mode"),
        (Probabilities, ("", "logits"), "return logits, without the softmax"),
        (ManyProbabilities, ("", "logits"), "return logits, without the sigmoid"),
        (Constant, ("", "logits"), "are the weights loaded?"),
        (Bypassed, ("act", "attribution"), "the logits do not depend on this layer"),
        (Autocast, ("act", "map"), "bfloat16"),
        (NormalisedTail, ("act", "attribution"), "normalises each position"),
        (Branching, ("act", "cut"), "it cannot be traced"),
    ],
)
def test_what_a_reader_must_know_is_noted(module_class, where, words):
    row = rows_of(sound(module_class))[where]
    assert row.verdict == "note"
    assert words in row.said


def test_a_head_that_is_random_matters_to_attributions_alone():
    network = sound(DroppedByFunction)
    assert rows_of(network)["", "same twice"].verdict == "fails"
    assert rows_of(network)["act", "same twice"].verdict == "ok"
    assert rows_of(network, attribution="none")["", "same twice"].verdict == "note"
    # The proof does not also report the consequences of this fault.
    assert ("act", "attribution") not in rows_of(network)


def test_a_backward_pass_is_not_needed_for_the_proof_of_a_product():
    """The tail allows no backward pass, but forward-mode products work."""

    class FrozenTail(Plain):
        def tail(self, x):
            with torch.no_grad():
                values = super().tail(x)
            return values if float(values.sum()) < 1e9 else values * 2

    row = rows_of(sound(FrozenTail))["act", "attribution"]
    assert (row.verdict, "small steps of the layer agree" in row.said) == ("ok", True)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ({}, "attributions take 2.7 forwards an image: the network's code cannot be traced"),
        (
            {"positions_per_image": 4},
            "take 8.7 forwards an image, 2 for each further position: the network's",
        ),
        ({"attribution": "ablation"}, None),
        ({"attribution": "none"}, None),
    ],
)
def test_the_price_of_a_way_around_is_noted_once(use, words):
    row = rows_of(sound(Branching), **use).get(("act", "price"))
    assert (row is None) == (words is None)
    if row is not None:
        assert row.verdict == "note"
        assert words in row.said


def test_a_layer_whose_suffix_cannot_be_found_names_its_price():
    row = rows_of(small_network(Around()), "layer", attribution="ablation", positions_per_image=3)[
        "layer", "price"
    ]
    assert row.verdict == "note"
    assert "for each further position: no forward pass can begin at the layer" in row.said


@pytest.mark.parametrize("maxpool_gradient", ["exact", "smooth"])
def test_both_gradients_of_max_pools_are_proven(maxpool_gradient):
    class Pooled(Plain):
        def tail(self, x):
            return super().tail(F.max_pool2d(x, 2))

    row = rows_of(sound(Pooled), maxpool_gradient=maxpool_gradient)["act", "attribution"]
    assert row.verdict == "ok"
    assert row.value < 1e-4


@pytest.mark.parametrize(
    ("mean", "std", "verdict"),
    [
        ((0.5,) * 3, (0.25,) * 3, "ok"),
        ((123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3, "ok"),
        ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4), "note"),
        ((123.7, 116.3, 103.5), (1.0, 1.0, 1.0), "note"),
    ],
)
def test_black_and_white_must_differ_where_the_network_sees_them(mean, std, verdict):
    network = sound(preprocess=Preprocess(resize=32, crop=32, mean=mean, std=std))
    assert rows_of(network)["", "input"].verdict == verdict


def test_a_network_that_cannot_be_cut_fails_in_one_line():
    def cut_at(layer):
        raise RuntimeError("no such part\nand more")

    proof = prove(sound(), images_of(), {"act": LayerUse(size_px=16)}, cut_at)
    (row,) = [row for row in proof.rows if row.check in ("cut", "gradient")]
    assert (row.verdict, row.said) == ("fails", "RuntimeError: no such part")


def test_locks_in_a_network_are_left_alone():
    assert {row.verdict for row in rows_of(sound(Locked)).values()} == {"ok"}


def test_a_map_read_in_another_order_than_the_images_fails():
    network = tokens_network("columns")
    assert rows_of(network, "blocks.1", size_px=32)["blocks.1", "position"].verdict == "ok"
    network.runs["blocks.1"] = replace(network.runs["blocks.1"], form=MapForm("tokens", 1))
    row = rows_of(network, "blocks.1", size_px=32)["blocks.1", "position"]
    assert row.verdict == "fails"
    assert "does not follow the image" in row.said


def test_the_proof_leaves_no_hooks_and_no_gradients():
    network = sound(NoStatistics)
    rows_of(network)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.module.modules())
    assert all(p.grad is None for p in network.module.parameters())
