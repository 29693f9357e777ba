"""`python -m analysis.answers`: diagnoses a file of predictions on this machine, as a service would.

`heldout diagnose PREDICTIONS` runs this program. Standard input is JSON: `file`, and `history` and `classes` or null.
"""

import json
import sys
from pathlib import Path

from analysis.answers.answers import PredictionsRefused
from analysis.answers.external import diagnose_answers
from analysis.answers.file import read_predictions
from heldout.histories.documents import read_document
from heldout.views.diagnosis import DiagnosisView

# Decompressed; the number of probabilities is limited besides.
MAX_BYTES = 2**30


def main() -> str | None:
    """Print the diagnosis as JSON; or return what is wrong with the file."""
    asked = json.load(sys.stdin)
    read = None if asked["history"] is None else read_document(asked["history"])
    try:
        with Path(asked["file"]).open("rb") as file:
            answers = read_predictions(file, MAX_BYTES, asked["classes"])
        diagnosis = diagnose_answers(answers, read)
    except PredictionsRefused as error:
        where = "".join(f"{part}, " if isinstance(part, str) else f"image {part + 1:,}, " for part in error.path)
        return f"{asked['file']}: {where}{error}."
    except OSError as error:
        return f"{asked['file']}: {error.strerror or error}"
    print(DiagnosisView.of(diagnosis).model_dump_json())
    return None


if __name__ == "__main__":
    sys.exit(main())
