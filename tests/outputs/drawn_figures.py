"""Draw figures and read back the text of their PDFs with its positions."""

import pypdfium2
import pypdfium2.raw as pdfium

from atlas_pipeline.figure import FigureRequest, save_figure
from atlas_pipeline.reader import open_run


def text_of(path):
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 1
        return document[0].get_textpage().get_text_bounded().replace("\r\n", "\n")


def words_at(path):
    """Every text object of a PDF: its string and its box in points from the lower left."""
    with pypdfium2.PdfDocument(path) as document:
        page, found = document[0], []
        text = page.get_textpage()
        for thing in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_TEXT]):
            box = thing.get_bounds()
            found.append((text.get_text_bounded(*box).strip(), box))
        return found, page.get_size()


def drawn(run, path, **request):
    return save_figure(open_run(run), FigureRequest(layer="conv2", **request), path)
