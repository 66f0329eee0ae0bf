"""The contact sheet of a finished patch test."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.patch_test.outcomes import PatchTest, cell_name
from atlas_pipeline.patch_test.placement import CORNERS, KINDS, patch_px
from atlas_pipeline.patch_test.result_tables import NAMES
from atlas_pipeline.patch_test.sheet_picture import Block, Column, ExampleImage, Outcome, patch_sheet
from atlas_pipeline.pictures.png_codec import picture_of
from atlas_pipeline.tables.chosen_images import images_of
from atlas_pipeline.tables.columns import column_matrix

NUM_EXAMPLES, NUM_BLOCKS = 6, 3


def contact_sheet(test: PatchTest, runtime: Runtime) -> np.ndarray:
    """The strongest icons and their controls on random images: (height, width, 3) uint8."""
    examples = _Examples(test, runtime)
    # Rank icons by their effect at their best place. Their controls are shown at the same place.
    shares = test.becomes.mean(axis=2)
    icons = np.flatnonzero(np.array(test.kinds) == "icon")
    icons = icons[np.argsort(-shares[icons].max(axis=1), kind="stable")][:NUM_BLOCKS]
    blocks = []
    for icon in icons.tolist():
        best = int(shares[icon].argmax())
        columns = [examples.column(patch, best) for patch in _with_controls(test, icon)]
        title = f"{cell_name(test.patches[icon])} of the comparison - {test.place_names()[best]}"
        blocks.append(Block(title=title, columns=columns))
    return patch_sheet(
        f"Patch test: {test.left} to {test.right}",
        f"{test.job.layer} - the {len(blocks)} icons that do most, at their best size and corner - images "
        f"drawn at random of {test.images.num_rows:,} that the network takes for {test.left}",
        examples.originals(),
        blocks,
        legend=[
            ("becomes", f"becomes {test.right}"),
            ("leaves", f"becomes something else than {test.left}"),
            ("stays", f"stays {test.left}"),
        ],
    )


def _with_controls(test: PatchTest, icon: int) -> list[int]:
    """The patches of every kind that have the icon's rank; ranks wrap around if random cells are fewer."""
    by_kind = [[n for n, kind in enumerate(test.kinds) if kind == wanted] for wanted in KINDS]
    rank = test.patches[icon]["rank"]
    return [patches[rank % len(patches)] for patches in by_kind]


class _Examples:
    """A few of the images, with the network's answer to every patch on them."""

    def __init__(self, test: PatchTest, runtime: Runtime) -> None:
        from atlas_pipeline.models import class_labels

        job = test.job
        order = np.random.default_rng(job.config.seed).permutation(test.images.num_rows)
        rows = pa.array(order[:NUM_EXAMPLES])
        self.test = test
        self.chosen = test.images.read().take(rows)
        ids = self.chosen["image_id"].to_numpy()
        self.images = images_of(job.inputs.index, ids, job.settings, runtime.device)
        answers = job.inputs.patch_answers.read(["answer", "probability"]).take(rows)
        self.answer, self.probability = (
            column_matrix(answers, name).reshape(len(ids), len(test.patches), len(test.places))
            for name in ("answer", "probability")
        )
        num_classes = test.images.notes["num_classes"]
        self.names = dict(enumerate(class_labels(job.settings.model, num_classes) or ()))
        self.names |= dict([test.job.config.left, test.job.config.right])

    def originals(self) -> list[ExampleImage]:
        """The images without a patch."""
        pictures = self.images.permute(0, 2, 3, 1).numpy()
        return [
            ExampleImage(picture=picture, answer=self.test.left, probability=probability, outcome="stays")
            for picture, probability in zip(pictures, self.chosen["probability"].to_pylist(), strict=True)
        ]

    def column(self, patch: int, place: int) -> Column:
        """The column of one patch at one place."""
        from atlas_pipeline.patch_test.pasting import paste_at_corners

        test, (size, corner) = self.test, self.test.places[place]
        picture = picture_of(test.patches[patch]["patch"])
        pasted = paste_at_corners(self.images, resized(picture, patch_px(self.images.shape[-1], size)))
        return Column(
            heading=NAMES[test.kinds[patch]],
            patch=picture,
            share=f"{test.right} {100 * test.becomes[patch, place].mean():.0f} %",
            images=[
                self._example(*values)
                for values in zip(
                    pasted[CORNERS.index(corner)].permute(0, 2, 3, 1).numpy(),
                    self.answer[:, patch, place].tolist(),
                    self.probability[:, patch, place].tolist(),
                    strict=True,
                )
            ],
        )

    def _example(self, picture: np.ndarray, answer: int, probability: float) -> ExampleImage:
        left, right = self.test.job.config.left[0], self.test.job.config.right[0]
        outcomes: dict[int, Outcome] = {left: "stays", right: "becomes"}
        return ExampleImage(
            picture=picture,
            answer=self.names.get(answer, f"class {answer}"),
            probability=probability,
            outcome=outcomes.get(answer, "leaves"),
        )
