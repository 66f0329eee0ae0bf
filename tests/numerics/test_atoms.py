"""Atoms: planted ones are found; strengths are those of a plain solver, and their parts add up."""

import numpy as np
import pytest
from scipy.optimize import nnls

from atlas_pipeline.numerics.atom_strengths import strengths_of
from atlas_pipeline.numerics.atoms import AtomsError, fit_atoms, least_left, rank_of_rows

NUM_CHANNELS, NUM_ATOMS, NUM_ROWS = 24, 6, 1500


def rows_of(atoms, seed, noise=0.01):
    """Sums of few atoms, with a little noise."""
    draws = np.random.default_rng(seed)
    shape = (NUM_ROWS, len(atoms))
    codes = draws.exponential(size=shape) * (draws.random(shape) < 0.3)
    return (codes @ atoms + noise * np.abs(draws.normal(size=(NUM_ROWS, atoms.shape[1])))).astype(np.float32)


def unit_rows(atoms):
    return atoms / np.linalg.norm(atoms, axis=1)[:, None]


@pytest.fixture(scope="module")
def planted():
    """Activations and the non-negative atoms that they are sums of."""
    draws = np.random.default_rng(0)
    shape = (NUM_ATOMS, NUM_CHANNELS)
    atoms = unit_rows(np.abs(draws.normal(size=shape)) * (draws.random(shape) < 0.4) + 1e-3)
    return rows_of(atoms, 1), atoms


@pytest.fixture(scope="module")
def signed():
    """As `planted`, with atoms of either sign."""
    atoms = unit_rows(np.random.default_rng(2).normal(size=(NUM_ATOMS, NUM_CHANNELS)))
    return rows_of(atoms, 3, noise=0.0), atoms


@pytest.mark.parametrize(
    ("method", "kind", "least"),
    [("nmf", "planted", 0.995), ("dictionary", "planted", 0.97), ("dictionary", "signed", 0.97)],
)
def test_planted_atoms_are_found(request, method, kind, least):
    activations, atoms = request.getfixturevalue(kind)
    found = fit_atoms(activations, method, NUM_ATOMS, seed=0, sparsity=0.2, num_reads=32768)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(NUM_ATOMS), abs=1e-5)
    cosine = atoms @ found.T
    assert cosine.max(1).min() > least
    assert sorted(cosine.argmax(1)) == list(range(NUM_ATOMS))
    assert np.array_equal(
        found, fit_atoms(activations, method, NUM_ATOMS, seed=0, sparsity=0.2, num_reads=32768)
    )


def test_atoms_that_are_not_in_the_activations_are_not_found(planted):
    activations, atoms = planted
    # Each activation with an order of channels of its own.
    shuffled = np.random.default_rng(1).permuted(activations, axis=1)
    found = fit_atoms(shuffled, "nmf", NUM_ATOMS, seed=0)
    assert (atoms @ found.T).max(1).min() < 0.8


def test_more_sparse_atoms_than_channels_are_found():
    draws = np.random.default_rng(5)
    atoms = unit_rows(np.abs(draws.normal(size=(12, 8))) * (draws.random((12, 8)) < 0.4) + 1e-3)
    codes = draws.exponential(size=(4000, 12)) * (draws.random((4000, 12)) < 0.1)
    found = fit_atoms(
        (codes @ atoms).astype(np.float32), "dictionary", 12, seed=0, sparsity=0.1, num_reads=16000
    )
    assert np.median((atoms @ found.T).max(1)) > 0.98


def test_strengths_on_all_atoms_are_those_of_a_plain_solver(planted):
    activations, atoms = planted[0][:40], planted[1][:4]
    found = strengths_of(activations, atoms)
    for row, activation in enumerate(activations.astype(np.float64)):
        wanted, rest = nnls(atoms.T, activation)
        assert found.strength[row] == pytest.approx(wanted, abs=1e-6)
        assert found.left[row] == pytest.approx(rest**2 / (activation**2).sum(), abs=1e-6)
    # Two of six atoms are missing.
    assert 0.1 < found.left.mean() < 0.9


@pytest.mark.parametrize("num_active", [None, 1, 3])
def test_parts_and_the_rest_add_up_to_the_whole(signed, num_active):
    activations, atoms = signed
    found = strengths_of(activations[:200] + 0.1, atoms, num_active)
    assert found.strength.min() >= 0
    assert found.part.sum(1) + found.left == pytest.approx(np.ones(200), abs=1e-6)
    if num_active:
        assert (found.strength > 0).sum(1).max() == num_active


def test_a_pursuit_finds_the_atoms_that_an_activation_is_made_of():
    atoms = np.eye(5)[:, :5]
    activation = np.array([[0.0, 2.0, 0.0, 3.0, 0.5]])
    assert strengths_of(activation, atoms, 2).strength.tolist() == [[0, 2, 0, 3, 0]]
    assert strengths_of(activation, atoms, 2).left[0] == pytest.approx(0.25 / 13.25)


@pytest.mark.parametrize("num_active", [None, 2])
def test_an_activation_of_zero_and_an_atom_of_zero_have_no_strength(planted, num_active):
    atoms = np.concatenate([planted[1], np.zeros((1, NUM_CHANNELS))])
    activations = np.concatenate([np.zeros((1, NUM_CHANNELS)), planted[0][:3]])
    found = strengths_of(activations, atoms, num_active)
    assert not found.strength[0].any()
    assert (found.left[0], found.energy[0]) == (0, 0)
    assert not found.strength[:, -1].any()
    assert found.strength[1:].any(1).all()


@pytest.mark.parametrize("num_active", [None, 3])
def test_a_strength_does_not_depend_on_the_other_activations(planted, num_active):
    activations, atoms = planted[0][:50], planted[1]
    whole = strengths_of(activations, atoms, num_active)
    parts = [strengths_of(activations[at : at + 7], atoms, num_active) for at in range(0, 50, 7)]
    assert np.concatenate([part.strength for part in parts]) == pytest.approx(whole.strength, abs=1e-9)


def test_no_directions_leave_less_than_the_singular_vectors(planted):
    rows = planted[0].astype(np.float64)
    axes = np.linalg.svd(rows, full_matrices=False)[2][:3]
    rest = rows - rows @ axes.T @ axes
    assert least_left(rows, 3) == pytest.approx(np.square(rest).sum() / np.square(rows).sum())
    assert least_left(rows, NUM_CHANNELS) == 0


def test_more_nmf_atoms_than_the_rank_are_refused(planted):
    flat = np.concatenate([planted[0][:, :3], np.zeros((NUM_ROWS, 9), np.float32)], axis=1)
    assert rank_of_rows(flat) == 3
    with pytest.raises(AtomsError, match="4 atoms are more than the rank of the activations, 3"):
        fit_atoms(flat, "nmf", 4, 0)
    assert len(fit_atoms(flat, "nmf", 3, 0)) == 3


@pytest.mark.parametrize(
    ("activations", "method", "words"),
    [
        (np.zeros((9, 3), np.float32), "nmf", "every activation is zero"),
        (np.zeros((0, 3), np.float32), "dictionary", "every activation is zero"),
        (-np.ones((9, 3), np.float32), "nmf", "directions.method: dictionary"),
        (np.ones((5, 3), np.float32), "dictionary", "6 atoms cannot be fitted to 5 activations"),
        (np.ones((5, 8), np.float32), "nmf", "6 atoms cannot be fitted to 5 activations"),
    ],
)
def test_activations_without_such_atoms_are_refused(activations, method, words):
    with pytest.raises(AtomsError, match=words):
        fit_atoms(activations, method, 6, 0, 0.2)
