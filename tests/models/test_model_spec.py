"""Fields of a model spec that enter the fingerprint."""

import json
import pickle
import subprocess
import sys

import pytest

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.spec import ModelSpec

CODE = "def build():\n    pass\n"


def test_a_spec_survives_pickling():
    spec = ModelSpec(source="torchvision", name="resnet18", preprocess={"crop": 64, "mean": (0.5, 0.5, 0.5)})
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_weights_are_known_by_content_and_not_by_path(tmp_path):
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (
        model_identity(ModelSpec(source="torchvision", name="resnet18", weights=str(tmp_path / name)))
        for name in ("a.pt", "b.pt", "c.pt")
    )
    assert a == b != c
    assert str(tmp_path) not in json.dumps(a)


def test_python_code_is_known_by_content_and_not_by_path(tmp_path):
    for folder, code in (("one", CODE), ("two", CODE), ("three", CODE + "# altered\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(code)
    one, two, three = (
        model_identity(ModelSpec(source="python", name=f"{tmp_path / folder / 'net.py'}:build"))
        for folder in ("one", "two", "three")
    )
    assert one == two != three


def test_a_module_and_its_file_are_the_same_network(tmp_path, monkeypatch):
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('identity must not import it')\n")
    (package / "my_file.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    by_name = model_identity(ModelSpec(source="python", name="my_package.my_file:build"))
    by_path = model_identity(ModelSpec(source="python", name=f"{package / 'my_file.py'}:build"))
    assert by_name == by_path


def test_modules_are_found_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "net_here.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    assert model_identity(ModelSpec(source="python", name="net_here:build"))["attribute"] == "build"


def test_seed_and_preprocess_count():
    base = model_identity(ModelSpec(source="torchvision", name="resnet18", weights="random"))
    assert base != model_identity(ModelSpec(source="torchvision", name="resnet18", weights="random", seed=1))
    cropped = ModelSpec(source="torchvision", name="resnet18", weights="random", preprocess={"crop": 64})
    assert base != model_identity(cropped)


def test_named_weights_are_spelled_out():
    own = model_identity(ModelSpec(source="torchvision", name="resnet50"))
    named = model_identity(ModelSpec(source="torchvision", name="resnet50", weights="IMAGENET1K_V2"))
    assert own == named
    assert own["weights"] == {"named": "ResNet50_Weights.IMAGENET1K_V2"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ModelSpec(source="torchvison"), ("torchvison", "'torchvision'")),
        (ModelSpec(source="torchvision", name="resnet18", weights="x/y.pt"), ("x/y.pt", ".safetensors")),
        (ModelSpec(source="torchvision", name="gogglenet"), ("gogglenet", "'googlenet'")),
        (
            ModelSpec(source="torchvision", name="resnet18", weights="IMAGENET1K_V9"),
            ("'IMAGENET1K_V1'", "random"),
        ),
        (ModelSpec(source="python", name="net.py"), ("net.py", "my_package.my_file:build")),
        (ModelSpec(source="python", name="nowhere/net.py:build"), ("no file 'nowhere/net.py'",)),
        (
            ModelSpec(source="python", name="no_such_module_x.y:build"),
            ("no Python module 'no_such_module_x.y'",),
        ),
    ],
)
def test_mistakes_are_named_in_one_line(spec, words):
    with pytest.raises(ModelError) as caught:
        model_identity(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words)


def test_identity_of_files_needs_no_torch(tmp_path):
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "w.pt").write_bytes(b"x")
    code, weights = f"{tmp_path}/net.py:build", f"{tmp_path}/w.pt"
    program = (
        "import sys\n"
        "from atlas_pipeline.models.identity import model_identity\n"
        "from atlas_pipeline.models.spec import ModelSpec\n"
        f"model_identity(ModelSpec(source='python', name={code!r}, weights={weights!r}))\n"
        f"model_identity(ModelSpec(source='torchvision', name='resnet18', weights={weights!r}))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
