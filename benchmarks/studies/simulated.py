"""Trainings whose truth is known, drawn instead of run; and a study that is followed on them to its end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np

from analysis.studies.next_steps import decide_next_steps
from analysis.studies.state import Arm, NextSteps, RunKey, Scores, StudyRun, StudyState, TestScores
from heldout.lifecycle.job import JobStatus
from heldout.studies.spec import BASE_ARM


@dataclass(frozen=True)
class World:
    """What is true of a simulated study's arms.

    accuracy, loss: what each arm truly adds to the base's, as fractions and in nats.
    seed_noise: standard deviation of one training's true accuracy, of each arm; of its loss three times that, in nats.
    agreement: the share of an image's score that all trainings have in common, in [0, 1].
    tails: how widely the logarithms of an arm's losses scatter; 1 where not named. They are log-normal: the worst
        tenth of the images has half of the loss.
    """

    arms: Sequence[str]
    images: int
    accuracy: Mapping[str, float] = field(default_factory=dict)
    loss: Mapping[str, float] = field(default_factory=dict)
    seed_noise: Mapping[str, float] = field(default_factory=dict)
    base_accuracy: float = 0.75
    agreement: float = 0.6
    own_agreement: float = 0.15
    tails: Mapping[str, float] = field(default_factory=dict)
    folds: int | None = None


class Trainings:
    """Draws the scores of any training, the same ones whenever they are requested."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self._seed = seed
        pool = world.images * (world.folds or 1)
        self._common = self._draw("common").standard_normal(pool)
        self._of_arm = {arm: self._draw(arm).standard_normal(pool) for arm in world.arms}

    def _draw(self, *key: object) -> np.random.Generator:
        words = [hash_of(part) for part in key]
        return np.random.default_rng([self._seed, *words])

    def images_of(self, key: RunKey) -> np.ndarray:
        """(images,) positions of the images that a training is validated on."""
        if self.world.folds is None or key.fold is None:
            return np.arange(self.world.images, dtype=np.int32)
        order = self._draw("folds", key.fold_seed).permutation(self.world.images * self.world.folds)
        return np.sort(order[key.fold :: self.world.folds]).astype(np.int32)

    def scores(self, key: RunKey) -> Scores:
        """What a training reports about its images."""
        world = self.world
        images = self.images_of(key)
        random = self._draw(key.arm, key.seed, key.purpose.value, key.variant)
        shared, own = world.agreement, world.own_agreement
        latent = np.sqrt(shared) * self._common[images] + np.sqrt(own) * self._of_arm[key.arm][images]
        latent = latent + np.sqrt(1 - shared - own) * random.standard_normal(len(images))
        noise = world.seed_noise.get(key.arm, 0.0) * random.standard_normal()
        accuracy = float(np.clip(world.base_accuracy + world.accuracy.get(key.arm, 0.0) + noise, 0.01, 0.99))
        right = latent < normal_quantile(accuracy)
        losses = 0.5 * np.exp(world.tails.get(key.arm, 1.0) * latent) + world.loss.get(key.arm, 0.0) - 3 * noise
        return Scores(images, losses.astype(np.float32), right, 0.1, 0.97, 9 * len(images), 1 + int(random.integers(9)))


def hash_of(part: object) -> int:
    """A whole number that is the same in every process."""
    value = 0
    for byte in str(part).encode():
        value = (value * 257 + byte) % 4_294_967_291
    return value


def normal_quantile(share: float) -> float:
    """The quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(share)


def state_of(world: World, seeds: int, **changes: object) -> StudyState:
    """A study of a world's arms, the first of which is the base."""
    arms = tuple(Arm(name, {} if name == BASE_ARM else {"training": {"note": name}}) for name in world.arms)
    train = world.images * ((world.folds or 10) - 1)
    state = StudyState("remedies", arms, seeds, world.folds, train, world.images, has_test=False)
    return replace(state, **changes)  # type: ignore[arg-type]


def follow(
    state: StudyState,
    scores: Callable[[RunKey], Scores],
    tested: Callable[[Sequence[str]], TestScores] | None = None,
    there: Mapping[RunKey, StudyRun] | None = None,
) -> tuple[NextSteps, dict[RunKey, StudyRun]]:
    """Do what a study asks for until it has ended; returns its last steps and its trainings.

    Args:
        there: trainings that it has already, if it is continued.
    """
    runs: dict[RunKey, StudyRun] = {**(there or {})}
    for _ in range(20):
        steps = decide_next_steps(state, list(runs.values()))
        if steps.status != "running":
            return steps, runs
        if steps.evaluate is not None:
            assert tested is not None
            state = replace(state, tested=tested([job for jobs in steps.evaluate for job in jobs]))
            continue
        assert steps.submit, "a study that runs asks for something"
        for key in steps.submit:
            assert key not in runs, "no training is asked for twice"
            job = f"job_{key.arm}_{key.purpose}_{key.seed}_{key.variant}"
            runs[key] = StudyRun(key, job, JobStatus.SUCCEEDED, scores(key), seconds=1.0)
    raise AssertionError("a study must end")
