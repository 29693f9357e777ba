"""The gap between training and test as a picture."""

from heldout.documents.diagnosis import build_gap
from heldout.pictures.kit import draw_svg, draw_text
from heldout.pictures.picture import Picture
from heldout.views.diagnosis import DiagnosisView


def draw_gap(diagnosis: DiagnosisView, name: str) -> Picture:
    """Draw accuracy from training at the top to test at the bottom."""
    title = f"{name}: from training to test"
    if diagnosis.gap is None:
        message = "The gap is known once the training has ended and training and test images were measured."
        return Picture(title, draw_svg(760, 70, title, draw_text(message, 12, 48)), f"{title}\n{message}")
    chart = build_gap(diagnosis.gap).charts[0]
    return Picture(title, chart.draw(title), "\n".join([title, *chart.draw_characters()]))
