"""Callbacks for Keras' `fit` anywhere: they explain why the test results will be poor when the training ends.

model.fit(x, y, validation_data=(x_val, y_val), epochs=20, callbacks=[heldout.keras.Diagnose()])
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from heldout.client.external_values import simplify_history
from heldout.client.failures import ApiProblem, NoService
from heldout.client.telling import Target, check_target, tell
from heldout.histories.documents import read_document
from heldout.histories.verdict import judge_curves
from heldout.integrations.labeled_splits import check_classes, check_outputs, check_split, collect_answers
from heldout.views.diagnosis import DiagnosisView

if TYPE_CHECKING:
    from heldout.client.client import Client


class Diagnose(keras.callbacks.Callback):
    """Prints the verdict when `fit` ends, without a service. `verdict` holds it afterwards.

    Args:
        classes: the number of classes, or their names. With them, a loss can be compared with chance.
    Raises:
        TypeError, ValueError: if `classes` is neither.
    """

    def __init__(self, *, classes: int | Sequence[str] | None = None) -> None:
        super().__init__()
        self._names = check_classes(classes)
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
            self._report()
        # A training that took hours must not end with an error because its figures cannot be judged.
        except Exception as error:  # noqa: BLE001
            print(f"heldout: the training could not be judged: {error}")

    def _report(self) -> None:
        self.verdict = self._judge()
        print(f"heldout: {self.verdict}")
        for finding in self.verdict.findings:
            for remedy in finding.remedies:
                print(f"  {remedy.name}: {remedy.reason}")

    def _judge(self) -> DiagnosisView:
        return DiagnosisView.of(judge_curves(read_document(simplify_history(self._curves)), self._names))


class Report(Diagnose):
    """Sends the history, and the network's answers to labeled images, to a service, and prints its verdict.

    It also prints the address of a page with the verdict, which `link` holds afterwards. With answers to training and
    test images, the diagnosis explains the gap between them term by term.

    Args:
        client: such as `heldout.Client()`.
        train, validation, test: images and labels: `(x, y)`, or batches of them such as a `tf.data.Dataset`. Labels
            are positions of classes or one-hot. None leaves a split out. The network's outputs must be probabilities
            or logits.
        classes: the number of classes, or their names.
    Raises:
        TypeError, ValueError: if an argument cannot be used, before the training begins.
    """

    def __init__(
        self,
        client: "Client",
        *,
        train: Any = None,
        validation: Any = None,
        test: Any = None,
        classes: int | Sequence[str] | None = None,
    ) -> None:
        super().__init__(classes=classes)
        if not hasattr(client, "diagnoses") or not getattr(client, "is_blocking", True):
            raise TypeError(f"Received client={client!r}; expected a client that blocks, such as heldout.Client().")
        self._client = client
        self.link: str | None = None
        self._splits = _take_splits(train=train, validation=validation, test=test)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self.link = None
        shape = getattr(self.model, "output_shape", None)  # a network that is not built yet has none
        if self._splits and shape is not None:
            check_outputs(shape, self._names)

    def _report(self) -> None:
        super()._report()
        assert self.verdict is not None
        try:
            kept = self._client.diagnoses.keep(self.verdict)
        except (ApiProblem, NoService) as error:
            print(f"heldout: the service keeps no page of this verdict: {error}")
            return
        self.link = f"{self._client.url}/diagnoses/{kept.id}"
        print(f"heldout: {self.link} shows this verdict")

    def _judge(self) -> DiagnosisView:
        if not self._splits:
            return self._client.diagnoses.create(self._curves, classes=self._names)
        answers = {name: collect_answers(split, self.model) for name, split in self._splits.items()}
        return self._client.diagnoses.create_from_predictions(answers, history=self._curves, classes=self._names)


def answers(model: Any, split: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return what a network answers to labeled images: `labels` (n,) and `probabilities` (n, classes).

    Args:
        model: a Keras model whose outputs are probabilities or logits (batch, classes).
        split: `(x, y)`, or batches of them such as a `tf.data.Dataset`.
    Raises:
        TypeError, ValueError: if `split` is neither, or its labels are not classes.
    """
    check_split("split", split)
    return collect_answers(split, model)


def _take_splits(**given: Any) -> dict[str, Any]:
    """Return the splits that are given. Raises TypeError or ValueError for one that is not images and labels."""
    splits = {name: split for name, split in given.items() if split is not None}
    for name, split in splits.items():
        check_split(name, split)
    return splits


class Tell(Diagnose):
    """Tells the answers and curves of a network to a run of a study, or writes them to a file, when `fit` ends.

    Args:
        to: a run of `client.studies.external`, or the path of an `.npz`, such as `{out}` of `heldout cure --run`.
        validation, test, train: images and labels, as for `Report`. None leaves a split out.
    Raises:
        TypeError, ValueError: if an argument cannot be used, before the training begins.
    """

    def __init__(self, to: Target, *, validation: Any, test: Any = None, train: Any = None) -> None:
        super().__init__()
        check_target(to)
        self._to = to
        self._splits = _take_splits(train=train, validation=validation, test=test)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        # Unlike a verdict, a result that is not reported makes the training worthless, so errors are raised.
        tell(self._to, {name: answers(self.model, split) for name, split in self._splits.items()}, self._curves)
