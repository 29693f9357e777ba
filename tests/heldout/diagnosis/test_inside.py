"""What was seen inside a network is drawn by layer, and named where it is a fault."""

from heldout.documents.blocks import Document
from heldout.documents.inside import build_inside
from heldout.documents.markdown import render_markdown
from heldout.stored.inside import EpochInside, InsideLook

START = InsideLook(
    images=32, loss=2.3, accuracy=0.1, inference_loss=2.3, inference_accuracy=0.1, penalty=0.5, one_answer=0.4
)
LOOK = EpochInside(
    images=32,
    loss=0.2,
    accuracy=0.9375,
    inference_loss=4.0,
    inference_accuracy=0.25,
    penalty=0.0,
    one_answer=0.75,
    activations=["relu_1", "relu_2"],
    dead=[0.0, 0.625],
    layers=["conv_1", "dense_1"],
    gradients=[0.001, None],
    steps=[0.0012, 0.01],
    start=START,
)


def test_looks_are_drawn_for_both_modes_and_by_layer():
    text = render_markdown(Document("Looks", build_inside({1: LOOK, 2: LOOK.model_copy(update={"start": None})})))
    assert "Before the first step, the loss of 32 training images was 2.300. Penalties add 0.500." in text
    for row in (
        "| Epoch 1, training mode | 93.8% |",
        "| Epoch 2, inference mode | 25.0% |",
        "| relu\\_2 | 62.5% |",
        "| conv\\_1 | 0.001 |",
        "| dense\\_1 | not finite |",
        "| conv\\_1 | 0.0012 |",
    ):
        assert row.replace("\\", "") in text.replace("\\", "")
    assert build_inside({}) == []
