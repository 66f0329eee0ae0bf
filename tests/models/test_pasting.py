import numpy as np
import pytest
import torch
from torch import nn

from atlas_pipeline.models import Network, Preprocess
from atlas_pipeline.models.answers import answers
from atlas_pipeline.patch_test.pasting import paste_at_corners


def network():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return Network(
        name="small",
        module=nn.Sequential(*module, nn.Linear(16, 3)),
        preprocess=Preprocess(resize=12, crop=12),
        weights_note="",
    )


def images(count, side=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def test_a_patch_covers_its_corner_and_nothing_else():
    before = images(2)
    patch = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    pasted = paste_at_corners(before, patch)
    assert pasted.shape == (4, 2, 3, 12, 12)
    for corner, (rows, cols) in enumerate([(0, 0), (0, 9), (9, 0), (9, 9)]):
        inside = (slice(None), slice(None), slice(rows, rows + 3), slice(cols, cols + 3))
        assert (pasted[corner][inside] == torch.from_numpy(patch.transpose(2, 0, 1))).all()
        untouched = torch.ones(12, 12, dtype=torch.bool)
        untouched[rows : rows + 3, cols : cols + 3] = False
        assert (pasted[corner][..., untouched] == before[..., untouched]).all()
    assert (before == images(2)).all()


def test_a_patch_as_large_as_the_image_replaces_it():
    patch = np.full((12, 12, 3), 7, np.uint8)
    assert (paste_at_corners(images(1), patch) == 7).all()


def test_answers_are_the_largest_logits_whatever_the_batch():
    ours = network()
    batch = images(7)
    expected = torch.softmax(ours.logits(batch), dim=1)
    for size in (1, 3, 7, 64):
        answer, probability = answers(ours, batch, size)
        assert answer.tolist() == expected.argmax(dim=1).tolist()
        torch.testing.assert_close(probability, expected.max(dim=1).values)


def test_a_batch_too_large_for_the_gpu_is_halved(monkeypatch):
    ours, sizes = network(), []
    real = ours.logits

    def short_of_memory(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(batch)

    expected = answers(ours, images(5), 5)
    monkeypatch.setattr(ours, "logits", short_of_memory)
    torch.testing.assert_close(answers(ours, images(5), 5), expected)
    assert sizes == [5, 3, 2, 1, 2]

    def never_enough(batch):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ours, "logits", never_enough)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        answers(ours, images(2), 2)
