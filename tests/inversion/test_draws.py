import math

import torch

from atlas_pipeline.inversion import random_streams as draws

MASK = (1 << 64) - 1


def splitmix(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def test_uniform_is_splitmix64_in_whole_numbers():
    gamma = 0x9E3779B97F4A7C15
    seed, stream = -7, 5
    key = splitmix((splitmix((seed + gamma) & MASK) + stream * gamma) & MASK)
    want = [((splitmix((key + k * gamma) & MASK) >> 12) + 0.5) * 2.0**-52 for k in (1, 2, 3)]
    assert draws.uniform([3, seed], stream, 3)[1].tolist() == want


def test_numbers_belong_to_their_seed_whatever_the_company():
    alone = draws.normal([42], 1, 50)
    together = draws.normal([7, 42, 2**63 + 5], 1, 50)
    assert torch.equal(alone[0], together[1])
    assert not torch.equal(together[0], together[1])


def test_more_numbers_leave_the_first_ones_as_they_are():
    assert torch.equal(draws.uniform([1], 2, 1000)[:, :10], draws.uniform([1], 2, 10))


def test_streams_of_one_seed_differ():
    assert not torch.equal(draws.uniform([1], 1, 10), draws.uniform([1], 2, 10))


def test_moments():
    flat = draws.uniform(range(100), 1, 1000)
    assert flat.min() > 0
    assert flat.max() < 1
    assert math.isclose(flat.mean(), 0.5, abs_tol=0.005)
    bell = draws.normal(range(100), 1, 1000)
    assert math.isclose(bell.mean(), 0, abs_tol=0.01)
    assert math.isclose(bell.std(), 1, abs_tol=0.01)
    assert abs(torch.corrcoef(bell[:, :2].T)[0, 1]) < 0.3
