from atlas_pipeline.layout.layout_memory import aligned_layout_bytes, layout_bytes


def test_memory_goes_with_the_fitted_rows():
    """At a million rows of 512 channels the vectors take 2 GB; fitting a tenth needs a few hundred MB."""
    none = layout_bytes(0, 512, 20)
    whole, part = layout_bytes(10**6, 512, 20) - none, layout_bytes(10**6, 512, 20, 10**5) - none
    assert 2.05e9 < whole < 6e9
    assert 160e6 < part < whole / 5
    assert layout_bytes(1000, 512, 20, 5000) == layout_bytes(1000, 512, 20)


def test_layers_together_need_what_each_keeps_and_one_graph_at_its_widest():
    none = aligned_layout_bytes(0, 9, 20)
    two, three = (aligned_layout_bytes(10**6, layers, 20) - none for layers in (2, 3))
    # For a million rows by 20: neighbours (8 bytes), graph and edges (24 bytes), and some for springs.
    assert 20e6 * 32 < three - two < 20e6 * 80
    assert aligned_layout_bytes(10**6, 3, 20, 10**5) < (three + none) / 2
    assert aligned_layout_bytes(1000, 3, 20, 5000) == aligned_layout_bytes(1000, 3, 20)
