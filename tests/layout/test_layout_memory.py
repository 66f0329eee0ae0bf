from atlas_pipeline.layout.memory import layout_bytes


def test_memory_goes_with_the_fitted_rows():
    """A million by 512, 20 neighbours: the vectors alone are 2 GB; on a tenth, a few hundred MB."""
    none = layout_bytes(0, 512, 20)
    whole, part = layout_bytes(10**6, 512, 20) - none, layout_bytes(10**6, 512, 20, 10**5) - none
    assert 2.05e9 < whole < 6e9
    assert 160e6 < part < whole / 5
    assert layout_bytes(1000, 512, 20, 5000) == layout_bytes(1000, 512, 20)
