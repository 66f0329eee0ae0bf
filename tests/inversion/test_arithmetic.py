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
]
# The switches are global: each case has its own process. They can be set and read without a GPU.
CODE = """
import torch
{setup}
from atlas_pipeline.inversion.arithmetic import arithmetic

def switches():
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision

before = switches()
with arithmetic("tf32", torch.device("cuda")):
    assert switches() == ("tf32", "tf32"), switches()
assert switches() == before, (before, switches())
try:
    with arithmetic("tf32", torch.device("cuda")):
        raise KeyError
except KeyError:
    assert switches() == before, (before, switches())
with arithmetic("tf32", torch.device("cpu")):
    assert switches() == before, (before, switches())
"""


@pytest.mark.parametrize("setup", SETUPS)
def test_tf32_works_after_any_of_torchs_switches_and_restores_them(setup):
    code = CODE.format(setup=setup)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
