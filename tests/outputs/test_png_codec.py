"""Icons in many threads give the files and pixels that one thread gives."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import UnidentifiedImageError

from atlas_pipeline.pictures.png_codec import picture_of, pixels, png_of, pngs_of

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 12, 10, 4)).astype(np.uint8)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("planes", [3, 4])
def test_threads_change_no_byte_and_no_pixel(planes, num_threads):
    images = IMAGES[..., :planes]
    files = pngs_of(images, num_threads)
    assert files == [png_of(image) for image in images]
    np.testing.assert_array_equal(pixels(pa.chunked_array([files[:4], files[4:]]), num_threads), images)
    assert pngs_of(images[:0], num_threads) == []


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_file_that_is_no_picture_keeps_its_error(num_threads):
    with pytest.raises(UnidentifiedImageError):
        pixels(pa.chunked_array([[png_of(IMAGES[0]), b"no picture"]]), num_threads)


def test_a_picture_comes_back():
    np.testing.assert_array_equal(picture_of(png_of(IMAGES[0])), IMAGES[0])
