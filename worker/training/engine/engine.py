"""The training engine: many gradient steps in one graph call, on data that stays on the device."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras.src.random.seed_generator import global_seed_generator
from numpy.typing import NDArray

from heldout.spec.job import JobSpec
from heldout.spec.network import OwnNetworkSpec
from worker.training.augmentation.augment import draw_epoch_changes, make_augment
from worker.training.augmentation.mixing import draw_mixing, mix
from worker.training.data.replicas import Batch, Examples, ReplicaPart, Replicas
from worker.training.data.training_data import BatchSource, TrainingData
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.optimizer import Descent, WeightAverage, build_loss, build_optimizer
from worker.training.engine.order import draw_balanced_order, draw_epoch_order
from worker.training.engine.recount import Recount
from worker.training.engine.towers import Towers
from worker.training.engine.training_policy import Weights
from worker.training.networks.network import computes_in_float16
from worker.training.networks.own_network import list_steps


class _EpochPlan(NamedTuple):
    """The random choices of an epoch: the order of images, the learning rates of steps, and each image's changes."""

    order: tf.Tensor
    rates: tf.Tensor
    changes: tuple[tf.Tensor, ...]
    mixing: tuple[tf.Tensor, ...]


class Engine:
    """Trains one network. With one tower and no augmentation it computes what `fit(shuffle=False)` computes.

    Args:
        network: from `build_network`; its variables are changed in place.
        towers: into how many parts every batch is split; the graph can compute them in parallel.
        replicas: the devices that each take a part of every batch; `network` was built in their scope.
        frozen: computes what `network` takes from images; None if `source` returns that.
        copies: how many changed copies of the training images `source` has, one after the other, of which each epoch
        takes the next; None if steps change images.
        earlier: the engine that has trained a part of `network` until now; its state is taken over.
        later_rate: the learning rate of the other weights; they follow the schedule, too.
    """

    def __init__(
        self,
        network: keras.Model,
        data: TrainingData,
        source: BatchSource,
        spec: JobSpec,
        towers: int = 1,
        replicas: Replicas | None = None,
        frozen: keras.Model | None = None,
        copies: int | None = None,
        earlier: "Engine | None" = None,
        later_rate: float | None = None,
    ) -> None:
        assert spec.training.seed is not None
        self.network = network
        self._frozen = frozen
        self._copies = copies
        # TensorFlow rewrites products and divisions where it knows shapes and what follows. Only in a graph like that
        # of `fit`, with a call for each step and an update for each weight, does it round the same for all layers.
        self._by_step = isinstance(spec.network, OwnNetworkSpec) and towers == 1
        self._replicas = replicas or Replicas()
        trained = network.trainable_variables if earlier is None else earlier.trained
        known = set(map(id, trained))
        later = [variable for variable in network.trainable_variables if id(variable) not in known]
        self.trained: list[keras.Variable] = [*trained, *later]
        self._later_share = (later_rate or 0.0) / spec.training.optimizer.learning_rate
        with self._replicas.scope():
            self._descents = [
                Descent(
                    build_optimizer(spec.training.optimizer, scaled=computes_in_float16(network)),
                    weights,
                    in_vector=self._replicas.count == 1 and not self._by_step,
                )
                for weights in (trained, later)
                if weights
            ]
        self.optimizer = self._descents[0].optimizer
        # `StochasticDepth` draws from a generator of the whole process, which is not a variable of the network.
        draws_shared = any(type(step).__name__ == "StochasticDepth" for step in list_steps(network))
        with self._replicas.scope():
            self.shared_draws = [global_seed_generator().state] if draws_shared else []
        self.towers = Towers(network, towers) if towers > 1 else None
        self.batch_size = spec.training.batch_size
        self.steps_per_epoch = -(-len(data.rows["train"]) // self.batch_size)
        self._training = spec.training
        self._seed = spec.training.seed
        self._data = data
        self._source = source
        self._augmentation = spec.augmentation if copies is None else None
        self._augment = None if self._augmentation is None else make_augment(self._augmentation, data, source)
        mixes, focal = bool(spec.training.mixup or spec.training.cutmix), spec.training.loss.name == "focal"
        self._loss = build_loss(spec.training.label_smoothing, shares=mixes, spec=spec.training.loss)
        self._by_shares = bool(spec.training.label_smoothing) or mixes or focal
        self._class_weights = None if data.class_weights is None else tf.constant(data.class_weights)
        decay = spec.training.ema_decay
        self._average = None if decay is None else WeightAverage(network, decay)
        self._recount = Recount(
            network, source, lambda images: network(self._see(images), training=False), self.batch_size
        )
        self._plan: _EpochPlan | None = None
        self._call = tf.function(self._run_steps, autograph=False)
        if earlier is not None:
            self._take_over(earlier)

    def _take_over(self, earlier: "Engine") -> None:
        """Continue an engine whose network is the end of this one. The averages of other weights start from them."""
        self._descents[0].restore(iter(earlier._descents[0].state()))
        if self._average is not None:
            self._average.set_last(earlier.weights())

    def state(self) -> list[NDArray[Any]]:
        """Return what a resumed training needs: weights, dropout's seeds, the optimizer's state, averages."""
        own = (variable.numpy() for variable in self._list_variables())
        descents = (value for descent in self._descents for value in descent.state())
        return [*own, *descents, *(variable.numpy() for variable in self._averages)]

    def restore(self, state: Sequence[NDArray[Any]]) -> None:
        """Restore the result of `state`.

        Raises:
            ValueError: if it belongs to another network; nothing is changed then.
        """
        if [value.shape for value in state] != [value.shape for value in self.state()]:
            raise ValueError("This state belongs to another network.")
        values = iter(state)
        for variable in self._list_variables():
            variable.assign(next(values))
        for descent in self._descents:
            descent.restore(values)
        for variable in self._averages:
            variable.assign(next(values))

    def begin_again(self, fresh: "Engine") -> None:
        """Continue as an engine that differs only in its seed, which traced graphs do not contain."""
        self.restore(fresh.state())
        self._training, self._seed = fresh._training, fresh._seed

    def _list_variables(self) -> list[keras.Variable]:
        return [*self.network.variables, *self.shared_draws]

    @property
    def _averages(self) -> list[tf.Variable]:
        return [] if self._average is None else self._average.variables

    def weights(self) -> Weights:
        """Return the weights that are measured and kept: the network's, or their moving average."""
        return self.network.get_weights() if self._average is None else self._average.values()

    def recount(self, between_calls: Callable[[], None]) -> None:
        """Recompute the averages of batch normalization for the weights that are measured and kept."""
        order = self._data.rows["train"][draw_epoch_order(self._seed, 0, len(self._data.rows["train"]))]
        if self._average is None:
            self._recount.count(order, between_calls)
            return
        trained = self.network.get_weights()
        try:
            self.network.set_weights(self._average.values())
            self._recount.count(order, between_calls)
            self._average.read(
                variable for layer in self._recount.layers for variable in (layer.moving_mean, layer.moving_variance)
            )
        finally:
            self.network.set_weights(trained)

    @property
    def has_copies(self) -> bool:
        """Whether several GPUs each have a copy of the network."""
        return self._replicas.count > 1

    def read(self, rows: NDArray[np.int32]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return what the network takes from some training images, and their labels."""
        self._source.expect(rows, len(rows))
        images, labels = self._source.batch(tf.constant(rows))
        return self._see(images), labels

    def begin_epoch(self, epoch: int, rates: NDArray[np.float32]) -> None:
        """Prepare `epoch` (from 1): its order, its changes of images, and the learning rate of each step."""
        rows = self._data.rows["train"]
        if self._training.sampling == "balanced":
            places = draw_balanced_order(self._seed, epoch, self._data.labels[rows])
        else:
            places = draw_epoch_order(self._seed, epoch, len(rows))
        order = rows[places]
        if self._copies is not None:
            order += np.int32((epoch - 1) % self._copies * len(rows))
        self._source.expect(order, self.batch_size)
        changes: tuple[NDArray[Any], ...] = ()
        if self._augmentation is not None:
            changes = draw_epoch_changes(self._augmentation, self._data.image, self._seed, epoch, places)
        mixing: tuple[NDArray[Any], ...] = ()
        if self._training.mixup or self._training.cutmix:
            mixing = draw_mixing(self._training, self._data.image, epoch=epoch, count=len(rows))
        self._plan = tf.nest.map_structure(tf.constant, _EpochPlan(order, rates, changes, mixing))

    def trace(self) -> None:
        """Trace the graph of the steps of an epoch that was begun. Otherwise the first `run` does it."""
        with self._replicas.scope():
            self._call.get_concrete_function(*self._make_arguments(0, 0, FitSums()))

    def run(self, first: int, last: int, sums: FitSums) -> FitSums:
        """Run steps first, …, last - 1 of the current epoch and add to its sums."""
        calls = [(step, step + 1) for step in range(first, last)] if self._by_step else [(first, last)]
        *_, objective, correct, images, plan = self._make_arguments(first, last, sums)
        with self._replicas.scope():
            for begin, end in calls:
                objective, correct, images = self._call(
                    tf.constant(begin), tf.constant(end), objective, correct, images, plan
                )
        return FitSums(float(objective), float(correct), float(images))

    def _make_arguments(self, first: int, last: int, sums: FitSums) -> tuple[Any, ...]:
        state = (tf.constant(value, tf.float32) for value in (sums.objective, sums.correct, sums.images))
        return tf.constant(first), tf.constant(last), *state, self._plan

    def _run_steps(
        self,
        first: tf.Tensor,
        last: tf.Tensor,
        objective: tf.Tensor,
        correct: tf.Tensor,
        images: tf.Tensor,
        plan: _EpochPlan,
    ) -> tuple[tf.Tensor, ...]:
        plan = tf.nest.map_structure(lambda drawn: tf.ensure_shape(drawn, [None, *drawn.shape[1:]]), plan)

        def take_step(step: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            begin = step * self.batch_size
            part = slice(begin, begin + self.batch_size)
            self.optimizer.learning_rate.assign(plan.rates[step])
            for descent in self._descents[1:]:
                descent.optimizer.learning_rate.assign(plan.rates[step] * self._later_share)
            changes, mixing = ([drawn[part] for drawn in each] for each in (plan.changes, plan.mixing))
            batch_objective, batch_correct, count = self._take_step(plan.order[part], changes, mixing)
            return step + 1, sums[0] + batch_objective * count, sums[1] + batch_correct, sums[2] + count

        for descent in self._descents:
            descent.begin()
        if self._by_step:
            return take_step(first, objective, correct, images)[1:]
        _, *sums = tf.while_loop(
            lambda step, *_: step < last,
            take_step,
            (first, objective, correct, images),
            parallel_iterations=1,  # a step must see the weights of the step before
        )
        return tuple(sums)

    def _take_step(
        self, rows: tf.Tensor, changes: list[tf.Tensor], mixing: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Take one gradient step; return the batch's objective, how many images were right, and how many there are."""
        count = tf.shape(rows)[0]
        if self._replicas.count == 1:
            objective, correct = self._descend(self._make_batch(rows, changes, mixing), None)
        else:
            objective, correct = self._replicas.run(self._descend_in_part, rows, changes, mixing)
        if self._average is not None:
            self._average.take_in(self.optimizer.iterations.value)
        return objective, correct, tf.cast(count, tf.float32)

    def _descend_in_part(
        self, part: ReplicaPart, rows: tf.Tensor, changes: list[tf.Tensor], mixing: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return one replica's contribution to the batch's objective and right answers."""
        batch = self._make_batch(rows, changes, mixing).part(slice(part.begin, part.end))
        objective, correct = self._descend(batch, part.share)
        return objective, tf.where(part.share > 0, correct, 0.0)

    def _descend(self, batch: Batch, share: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Take a gradient step; return the objective of these images and how many of them were right.

        `share` is the share of these images in the batch if replicas split it; gradients are summed over replicas.
        """
        with tf.GradientTape() as tape:
            loss, correct = self._forward(batch) if self.towers is None else self._forward_in_parts(batch, self.towers)
            penalties = self.network.losses
            if share is not None:
                loss = loss * (share * self._replicas.count)  # Keras has divided it by their number
                penalties = [penalty / self._replicas.count for penalty in penalties]
            # Keras adds the objective's terms in this order; the sum's bits depend on it.
            objective = keras.ops.sum([loss, *penalties]) if penalties else loss
            scaled = self.optimizer.scale_loss(objective)
        gradients = iter(tape.gradient(scaled, self.trained))
        for descent in self._descents:
            descent.step(list(islice(gradients, descent.count)))
        return objective, correct

    def _forward_in_parts(self, batch: Batch, towers: Towers) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute `_forward` in parts that wait for each other as little as the layers allow."""
        parts = towers.divide(batch.count)
        examples = [batch.part(slice(part.begin, part.end)).examples() for part in parts]
        logits = towers.compute_logits([self._see(part.images) for part in examples], parts)
        judged = [self._judge(part, of_part) for part, of_part in zip(examples, logits, strict=True)]
        loss = tf.add_n([loss * part.share for (loss, _), part in zip(judged, parts, strict=True)])
        correct = [tf.where(part.share > 0, right, 0.0) for (_, right), part in zip(judged, parts, strict=True)]
        return loss, tf.add_n(correct)

    def _forward(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean loss of some images and how many of them are right."""
        examples = batch.examples()
        return self._judge(examples, self.network(self._see(examples.images), training=True))

    def _see(self, images: tf.Tensor) -> tf.Tensor:
        """Return what the trained network takes: images, or the features that a frozen part gives of them."""
        return images if self._frozen is None else self._frozen(images, training=False)

    def _judge(self, examples: Examples, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        answers = tf.argmax(logits, axis=-1, output_type=examples.labels.dtype)
        correct = tf.reduce_sum(tf.cast(answers == examples.labels, tf.float32))
        return self._loss(examples.targets, logits, examples.weights), correct

    def _make_batch(self, rows: tf.Tensor, changes: list[tf.Tensor], mixing: list[tf.Tensor]) -> Batch:
        """Return the input of a step.

        Images are mixed before the batch is split, because any may be another's partner.
        """
        if mixing:
            return mix(self._make_examples(rows, *changes), *mixing).make_batch()
        return Batch((rows, *changes), self._make_examples)

    def _make_examples(self, rows: tf.Tensor, *changes: tf.Tensor) -> Examples:
        images, labels = self._source.batch(rows)
        if self._augment is not None:
            images = self._augment(images, *changes)
        targets = tf.one_hot(labels, len(self._data.classes)) if self._by_shares else labels
        return Examples(
            images,
            labels,
            targets,
            None if self._class_weights is None else tf.gather(self._class_weights, labels),
        )
