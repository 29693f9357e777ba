"""A Lightning callback that tells a network's answers when its training ends.

trainer = lightning.Trainer(callbacks=[Tell("answers.npz", test=test_loader)])
"""

import sys
from collections.abc import Iterable
from typing import Any

from heldout.client.telling import Target, check_target, tell
from heldout.torch import answers

# Lightning is installed under two names, and a trainer accepts only callbacks from its own.
if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
    from pytorch_lightning.callbacks import Callback
else:
    from lightning.pytorch.callbacks import Callback

__all__ = ["Tell", "answers"]


class Tell(Callback):
    """Tells the answers and curves of a network to a run of a study, or writes them to a file, after `trainer.fit`.

    Args:
        to: a run of `client.studies.external`, or the path of an `.npz`, such as `{out}` of `heldout cure --run`.
        validation: batches of (images, labels); by default those that the trainer validates with.
        test, train: the same of other splits, without random augmentation. None leaves a split out.
    Raises:
        TypeError: if `to` is neither.
    """

    def __init__(
        self,
        to: Target,
        *,
        validation: Iterable[Any] | None = None,
        test: Iterable[Any] | None = None,
        train: Iterable[Any] | None = None,
    ) -> None:
        check_target(to)
        self._to = to
        self._given = {"train": train, "validation": validation, "test": test}
        self._epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._epochs.append({"epoch": trainer.current_epoch, **logged})

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        given = {**self._given, "validation": self._given["validation"] or trainer.val_dataloaders}
        splits = {name: answers(pl_module, loader) for name, loader in given.items() if loader is not None}
        tell(self._to, splits, self._epochs)
