"""The precision of the network holds within the block, whatever the user's code has set before."""

import subprocess
import sys

import pytest

SETUPS = [
    "",
    "torch.backends.fp32_precision = 'ieee'",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.mkldnn.conv.fp32_precision = 'bf16'",
]
# The switches are global: each case has its own process. They can be set and read without a GPU.
CODE = """
import torch
{setup}
from atlas_pipeline.inversion.arithmetic import arithmetic
from atlas_pipeline.models.arithmetic import ieee

backends = torch.backends

def on_gpu():
    return backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision

def on_cpu():
    return backends.mkldnn.matmul.fp32_precision, backends.mkldnn.conv.fp32_precision

IEEE, TF32, cuda = ("ieee", "ieee"), ("tf32", "tf32"), torch.device("cuda")
before = on_gpu(), on_cpu()
with ieee():
    assert (on_gpu(), on_cpu()) == (IEEE, IEEE), (on_gpu(), on_cpu())
    with arithmetic("tf32", cuda):
        assert (on_gpu(), on_cpu()) == (TF32, IEEE), (on_gpu(), on_cpu())
    assert (on_gpu(), on_cpu()) == (IEEE, IEEE), (on_gpu(), on_cpu())
assert (on_gpu(), on_cpu()) == before, before
for name in ("float32", "bfloat16"):
    with arithmetic(name, torch.device("cpu")):
        assert (on_gpu(), on_cpu()) == (IEEE, IEEE), (on_gpu(), on_cpu())
        assert torch.is_autocast_enabled("cpu") == (name == "bfloat16")
    assert (on_gpu(), on_cpu()) == before, before
for name in ("tf32", "float32"):
    try:
        with arithmetic(name, cuda):
            raise KeyError
    except KeyError:
        assert (on_gpu(), on_cpu()) == before, before
"""


@pytest.mark.parametrize("setup", SETUPS)
def test_precisions_hold_after_any_of_torchs_switches_and_restore_them(setup):
    code = CODE.format(setup=setup)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
