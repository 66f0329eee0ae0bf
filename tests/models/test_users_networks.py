"""Networks as users write them are unwrapped, made plain, or refused in one line when opened."""

import re
import sys

import pytest
import torch
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import check_layers, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.proof_of_layer import gradient_row
from atlas_pipeline.models.spec import ModelSpec

FILE = """
import threading
import torch
from torch import nn

PREPROCESS = {"crop": 32}

class Net(nn.Module):
    def __init__(self, channels=3, lazy=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1)
        self.conv2 = nn.LazyConv2d(12, 3, padding=1) if lazy else nn.Conv2d(8, 12, 3, padding=1)
        self.act, self.head = nn.ReLU(), nn.Linear(12, 5)

    def features(self, x):
        return self.act(self.conv2(self.conv1(x).relu()))

    def forward(self, x):
        return self.head(self.features(x).mean(dim=(2, 3)))

def plain(): return Net()
"""


@pytest.fixture
def opened(tmp_path):
    """`opened(code)` opens the network that `build` in ``code`` returns; the code gets its own file."""

    def call(code: str, **options):
        (tmp_path / "net.py").write_text(FILE + code)
        return open_network(ModelSpec(source="python", name=f"{tmp_path / 'net.py'}:build", **options))

    return call


def refusal(opened, code, **options) -> str:
    with pytest.raises(ModelError) as caught:
        opened(code, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# One network in many forms, each of which once crashed the program. All tests of it use the layer `act`.
SAME = {
    "a wrapper": "build = lambda: nn.DataParallel(Net())",
    "a wrapper within": """
class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.DataParallel(Net())
    def forward(self, x): return self.net.module(x)
build = Outer
""",
    "compiled in place": "def build():\n    net = Net(); net.compile(); net.act.compile(); return net",
    "an instance with weight_norm": "build = Net(); nn.utils.weight_norm(build.conv2)",
    "a parametrisation": "def build():\n"
    "    net = Net(); nn.utils.parametrizations.weight_norm(net.conv2); return net",
    "a lock and an open file": """
class Locked(Net):
    def __init__(self):
        super().__init__()
        self.lock, self.file = threading.Lock(), open(__file__)
    def forward(self, x):
        with self.lock:
            return super().forward(x) if float(x.sum()) < 1e9 else None
build = Locked
""",
    "gradients off": "torch.set_grad_enabled(False)\n"
    "def build():\n    torch.set_grad_enabled(False); return Net()",
    "gradients off in forward": """
class Off(Net):
    def forward(self, x):
        y = super().forward(x)
        torch.set_grad_enabled(False)
        return y
build = Off
""",
    "another default dtype": "torch.set_default_dtype(torch.float64)\ndef build():\n"
    "    torch.manual_seed(0); return Net()",
    "an own command line": "import argparse\np = argparse.ArgumentParser(); p.add_argument('--lr')\n"
    "print(p.parse_args())\nbuild = Net",
    "double inside": """
class Double(Net):
    def forward(self, x):
        x = self.features(x).double().mean(dim=(2, 3))
        return nn.functional.linear(x, self.head.weight.double(), self.head.bias.double())
build = Double
""",
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_network_comes_out(opened, name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["atlas", "run", "mine.yaml"])
    expected = opened("build = Net")
    network = opened(SAME[name])
    assert sys.argv == ["atlas", "run", "mine.yaml"]
    assert capsys.readouterr().out == ""
    layer = next(known for known in network.runs if known.endswith("act"))
    positions = torch.tensor([[3, 4], [20, 31]])
    assert torch.allclose(network.logits(images()), expected.logits(images()), atol=1e-6)
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert torch.allclose(
        attribution(network, images(), layer, positions),
        attribution(expected, images(), "act", positions),
        atol=1e-8,
    )
    assert gradient_row(images(), layer, 32, cut(network, layer)).verdict == "ok"
    part = cut(network, layer)
    assert torch.allclose(part(images()), feature_maps(expected, images(), ["act"])["act"], atol=1e-6)


def test_lazy_layers_take_their_shape_from_an_image_and_weights_from_the_seed(opened, tmp_path):
    network = opened("build = lambda: Net(lazy=True)")
    assert type(network.module.conv2) is nn.Conv2d
    assert network.module.conv2.in_channels == 8
    assert gradient_row(images(), "act", 32, cut(network, "act")).verdict == "ok"
    torch.save(network.module.state_dict(), tmp_path / "w.pt")
    again = opened("build = lambda: Net(lazy=True)", weights=str(tmp_path / "w.pt"), seed=3)
    assert torch.equal(again.logits(images()), network.logits(images()))


def test_parts_in_torchscript_are_run_and_not_listed(opened):
    network = opened("""
class Scripted(Net):
    def __init__(self):
        super().__init__()
        self.act = torch.jit.script(nn.Sequential(nn.Conv2d(12, 12, 3), nn.ReLU()))
build = Scripted
""")
    assert list(network.runs) == ["conv1", "conv2", "head"]
    assert float(attribution(network, images(), "conv2", torch.tensor([[3, 4], [5, 6]])).abs().max()) > 0
    assert gradient_row(images(), "conv2", 32, cut(network, "conv2")).verdict == "ok"


@pytest.mark.parametrize("name", ["_orig_mod.act", "module.act", "module._orig_mod.act"])
def test_layers_are_named_without_the_wrappers(opened, name):
    with pytest.raises(ModelError, match=rf"layer '{name}' of net is 'act' here"):
        check_layers(opened("build = Net"), [name])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("build = lambda: torch.jit.script(nn.Conv2d(3, 5, 3))", "a TorchScript module"),
        ("build = lambda: torch.jit.trace(Net(), torch.rand(2, 3, 32, 32))", "a TorchScript module"),
        ("build = Net()\nbuild.lock = threading.Lock()", "cannot be copied.*a function that builds it"),
        (
            "import argparse\np = argparse.ArgumentParser(); p.add_argument('x'); p.parse_args()",
            "sys.exit: 2.*line",
        ),
        ("def build():\n    exit('done')", r"ends the program \(sys.exit: done\) \(net.py, line 24\)"),
        ("def build():\n    return {}['k']", r"KeyError: 'k' \(net.py, line 24\)"),
        ("import nothing_of_that_name", r"No module named 'nothing_of_that_name' \(net.py, line 23\)"),
        ("def build(:", r"SyntaxError: invalid syntax \(net.py, line 23\)"),
        (
            "def build():\n    with torch.device('meta'):\n        return Net()",
            "Cannot copy out of meta tensor",
        ),
        ("build = lambda: Net(1)", "takes images of 1 channel, and gets RGB here: .*wrap it"),
        ("build = lambda: Net(4)", "takes images of 4 channels, and gets RGB here: .*wrap it"),
        (
            "class Two(Net):\n    def forward(self, x, text): return super().forward(x)\nbuild = Two",
            "does not take images alone: .*'text'; wrap it",
        ),
        (
            "class Half(Net):\n    def forward(self, x): return super().forward(x.half())\nbuild = Half",
            r"cannot run on a 32 px image: .*\(net.py, line 17\); networks are run in float32",
        ),
        (
            "class Meta(Net):\n    def forward(self, x):\n"
            "        return super().forward(x) + torch.rand(5, device='meta')\n"
            "build = Meta",
            r"\(net.py, line 25\); networks are opened on the CPU",
        ),
        (
            "class Wrong(Net):\n    def forward(self, x): return self.nothing\nbuild = Wrong",
            r"cannot run on a 32 px image: AttributeError: .*'nothing' \(net.py, line 24\)$",
        ),
        (
            "class Sized(Net):\n    def forward(self, x):\n        assert x.shape[2] == 64, 'size'\n"
            "        return super().forward(x)\nbuild = Sized",
            r"image: size \(net.py, line 25\); it runs on images of 64 px: set model.preprocess.crop: 64",
        ),
        (
            "class Lazy(Net):\n    def __init__(self):\n        super().__init__()\n        self.other = "
            "nn.LazyLinear(3)\nbuild = Lazy",
            "lazy layers that its forward does not run",
        ),
    ],
)
def test_refused_in_one_line_with_the_cause(opened, code, words):
    said = refusal(opened, code)
    assert re.search(words, said), said
    assert ("model.preprocess.crop" in said) == ("64 px" in said)


NO_GRADIENT = """
class Frozen(Net):
    def forward(self, x):
        with torch.no_grad():
            x = self.features(x)
        return self.head(x.mean(dim=(2, 3))) if float(x.sum()) < 1e9 else None
build = Frozen
"""


def test_a_layer_that_no_gradient_leads_back_from_is_refused(opened):
    network = opened(NO_GRADIENT)
    with torch.no_grad():
        row = gradient_row(images(), "act", 32, cut(network, "act"))
    assert row.verdict == "fails"
    assert "remove torch.no_grad()" in row.said


def test_16_bits_inside_give_float32_maps(opened):
    network = opened("""
class Autocast(Net):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)
build = Autocast
""")
    exact = feature_maps(opened("build = Net"), images(), ["act"])["act"]
    for h in (feature_maps(network, images(), ["act"])["act"], cut(network, "act")(images())):
        assert h.dtype == torch.float32
        assert float((h - exact).abs().max()) < 0.02 * float(exact.max())
    assert gradient_row(images(), "act", 32, cut(network, "act")).verdict == "ok"


def test_batch_norms_without_statistics_are_not_folded(opened):
    network = opened("""
class Batch(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(12, track_running_stats=False)
    def features(self, x):
        return self.act(self.norm(self.conv2(self.conv1(x))))
build = Batch
""")
    expected = feature_maps(network, images(), ["act"])["act"]
    assert torch.allclose(cut(network, "act")(images()), expected, atol=1e-5)
