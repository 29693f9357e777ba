"""Callbacks for Keras' `fit` anywhere: why the test results will be poor, said when the training ends.

model.fit(x, y, validation_data=(x_val, y_val), epochs=20, callbacks=[heldout.keras.Diagnose()])
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from heldout.client.foreign_values import simplify_history
from heldout.diagnosis import Evaluation
from heldout.histories.documents import read_document
from heldout.histories.verdict import diagnose_read
from heldout.views.diagnosis import DiagnosisView

if TYPE_CHECKING:
    from heldout.client.client import Client

BATCH = 256


class Diagnose(keras.callbacks.Callback):
    """Prints the verdict at the end of `fit`; no service is asked. `verdict` holds it afterwards.

    Args:
        classes: how many there are, or their names: with them a loss can be told from chance.
    """

    def __init__(self, *, classes: int | Sequence[str] | None = None) -> None:
        super().__init__()
        self._names = tuple(map(str, range(classes))) if isinstance(classes, int) else classes
        self._curves: dict[str, list[Any]] = {}
        self.verdict: DiagnosisView | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._curves = {}
        self.verdict = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._curves.setdefault(name, []).append(value)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if not self._curves:
            print("heldout: no epoch has ended, so there is nothing to judge.")
            return
        try:
            self.verdict = self._judge()
        # A training that took hours never ends with an error because its figures cannot be judged.
        except Exception as error:  # noqa: BLE001
            print(f"heldout: the training could not be judged: {error}")
            return
        print(f"heldout: {self.verdict.verdict.replace('_', ' ')}. {self.verdict.explanation}")
        for finding in self.verdict.findings:
            for remedy in finding.remedies:
                print(f"  {remedy.name}: {remedy.reason}")

    def _judge(self) -> DiagnosisView:
        read = read_document(simplify_history(self._curves))
        evaluation = None if self._names is None else Evaluation({}, tuple(self._names))
        return DiagnosisView.of(diagnose_read(read, evaluation))


class Report(Diagnose):
    """Sends the history, and what the network answers to labeled images, to a service, and prints its verdict.

    With answers to training and test images the gap between them is told term by term.

    Args:
        client: such as `heldout.Client()`.
        train, validation, test: images and labels, `(x, y)`, as `fit` takes them; labels as positions of classes or
            one-hot. What is None is left out. The network's outputs must be probabilities, or logits.
        classes: how many there are, or their names.
    """

    def __init__(
        self,
        client: "Client",
        *,
        train: tuple[Any, Any] | None = None,
        validation: tuple[Any, Any] | None = None,
        test: tuple[Any, Any] | None = None,
        classes: int | Sequence[str] | None = None,
    ) -> None:
        super().__init__(classes=classes)
        self._client = client
        given = {"train": train, "validation": validation, "test": test}
        self._splits = {name: split for name, split in given.items() if split is not None}

    def _judge(self) -> DiagnosisView:
        names = self._names
        if not self._splits:
            return self._client.diagnoses.create(self._curves, classes=names)
        answers = {name: self._collect_answers(*split) for name, split in self._splits.items()}
        return self._client.diagnoses.create_from_predictions(answers, history=self._curves, classes=names)

    def _collect_answers(self, images: Any, labels: Any) -> dict[str, Any]:
        """Labels as positions, (n,), and probabilities, (n, classes)."""
        outputs = np.asarray(self.model.predict(images, batch_size=BATCH, verbose=0), np.float64)
        if outputs.shape[-1] == 1:  # one output for two classes
            if outputs.min() < 0 or outputs.max() > 1:
                outputs = 1 / (1 + np.exp(-outputs))
            outputs = np.concatenate([1 - outputs, outputs], axis=-1)
        elif outputs.min() < 0 or not np.allclose(outputs.sum(-1), 1, atol=1e-3):
            outputs = np.exp(outputs - outputs.max(-1, keepdims=True))
            outputs /= outputs.sum(-1, keepdims=True)
        known = np.asarray(labels)
        known = known.argmax(-1) if known.ndim == 2 and known.shape[1] > 1 else known.reshape(-1)
        return {"labels": known.astype(np.int64), "probabilities": outputs}
