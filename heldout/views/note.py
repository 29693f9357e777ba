"""What looks wrong in a network before it is trained."""

from pydantic import Field

from heldout.views.base import View


class NoteView(View):
    """Something about a network that looks wrong. Only a training can prove it."""

    check: str = Field(description="Which check found it.")
    layer: str = Field(description="Empty if it is about the whole network.")
    text: str
    line: str = Field(description="Keras code, or a setting, that changes it; may be empty.")
