import numpy as np

from atlas_pipeline.numerics.region_names import GridClasses, region_names

ANT, BEE = 3, 7


def whole(grid, classes, agreement, counts=10):
    """A grid whose cells are all there; scalars stand for all cells."""
    cells = np.stack(np.divmod(np.arange(grid**2), grid), axis=1)
    fill = lambda values: np.broadcast_to(np.asarray(values), grid**2).copy()  # noqa: E731
    return GridClasses(
        grid=grid,
        cells=cells,
        classes=fill(classes),
        counts=fill(counts),
        agreement=fill(agreement).astype(np.float32),
    )


def named(*grids):
    names = region_names(grids)
    return [
        (int(c), int(g), round(float(x), 3), round(float(y), 3))
        for c, g, x, y in zip(names.class_, names.grid, names.x, names.y, strict=True)
    ]


def test_a_region_has_one_name_at_its_innermost_cell_with_y_up():
    halves = np.where(np.arange(16) // 4 < 1, ANT, BEE)
    names = region_names([whole(4, halves, 1.0)])
    assert names.class_.tolist() == [BEE, ANT]
    assert names.area.tolist() == [0.75, 0.25]
    assert names.count.tolist() == [120, 40]
    # The ants have the top row.
    assert names.y[1] == 0.875


def test_no_name_where_less_than_half_agree():
    assert named(whole(2, ANT, 0.49)) == []
    assert [name for name, *_ in named(whole(2, ANT, 0.5))] == [ANT]
    # A full cell without agreement outweighs an agreeing one with few activations.
    assert named(whole(2, ANT, [1, 1, 1, 0], [1, 1, 1, 99])) == []
    assert region_names([whole(2, ANT, [1, 1, 0, 1])]).agreement.tolist() == [0.75]


def test_unknown_agreement_is_none():
    assert named(whole(2, ANT, np.nan)) == []


def test_finer_grids_add_only_names_that_their_place_lacks():
    coarse = whole(2, [ANT, ANT, ANT, ANT], [1, 1, 1, 1])
    fine = whole(4, np.where(np.arange(16) == 5, BEE, ANT), 1.0)
    assert named(fine, coarse) == [(ANT, 2, 0.25, 0.75), (BEE, 4, 0.375, 0.625)]
    # Where the coarse grid disagrees, the fine grid names the place.
    disagreeing = whole(2, [ANT, ANT, ANT, ANT], 0.2)
    assert [(name, grid) for name, grid, *_ in named(disagreeing, fine)] == [(ANT, 4), (BEE, 4)]


def test_cells_without_a_class_have_no_name():
    assert named(whole(2, -1, 1.0)) == []
    assert named() == []
