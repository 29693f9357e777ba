"""How often agents that only guess fool a judge, and a leaderboard: `python -m benchmarks.studies.guessing`.

Agents know nothing: no candidate of theirs is better than the base in truth. Each sends as many candidates as the judge
judges, and adapts them to what it answers. On the leaderboard, the same agents see every accuracy on the same images.
Prints the Markdown tables of docs/measurements/judge.md.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.studies.sealed_judge import Budget, Finding, estimate_detectable_gain, judge

Array = NDArray[Any]
CLASSES = 10
# Images of the population that no one is judged on. They say how good an answer truly is.
TRUTH = 4_000


@dataclass(frozen=True)
class World:
    """A set of images. draw: answers of a new network that is as good as the base, to all images.

    labels: (sealed images, then those of the truth). base: answers to them.
    """

    name: str
    labels: Array
    sealed: int
    base: Array
    draw: Callable[[np.random.Generator], Array]

    def compute_accuracies(self, answers: Array) -> tuple[float, float]:
        """Return the accuracy on the sealed images, and the true one."""
        right = answers == self.labels
        return float(right[: self.sealed].mean()), float(right[self.sealed :].mean())


# --- agents ------------------------------------------------------------------------------------------------------

# Each takes the world, the best answers so far and a generator, and returns the next candidate.
Agent = Callable[[World, Array, np.random.Generator], Array]


def send_another(world: World, best: Array, rng: np.random.Generator) -> Array:
    """Train again with another seed."""
    return world.draw(rng)


def send_near_copy(world: World, best: Array, rng: np.random.Generator) -> Array:
    """Change a hundredth of the best answers."""
    return np.where(rng.random(len(best)) < 0.01, world.draw(rng), best)


def climb(world: World, best: Array, rng: np.random.Generator) -> Array:
    """Change a quarter of the best answers, and so climb from one improvement to the next."""
    return np.where(rng.random(len(best)) < 0.25, world.draw(rng), best)


AGENTS: dict[str, Agent] = {"another seed": send_another, "near copies": send_near_copy, "climbing": climb}


# --- judges ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What an agent learned of its best candidate, and the truth. Gains over the base, as shares.

    betters: how often it was called better. refused: near copies that were not judged.
    """

    told: float
    true: float
    betters: int
    refused: int = 0


def ask_judge(world: World, agent: Agent, looks: int, rng: np.random.Generator) -> Outcome:
    """Let an agent send as many candidates as the budget has looks."""
    best, budget, told, refused = world.base, Budget(looks), 0.0, 0
    for _ in range(looks):
        candidate = agent(world, best, rng)
        finding = _look(world, candidate, best, budget)
        if finding.answer == "too_similar":
            refused += 1
            continue
        is_better = finding.answer == "better"
        budget = replace(budget, spent=budget.spent + 1, betters=budget.betters + is_better)
        best, told = (candidate, told + (finding.gain or 0.0)) if is_better else (best, told)
    true = world.compute_accuracies(best)[1] - world.compute_accuracies(world.base)[1]
    return Outcome(told, true, budget.betters, refused)


def _look(world: World, candidate: Array, best: Array, budget: Budget) -> Finding:
    sealed = slice(world.sealed)
    return judge(candidate[None, sealed], best[None, sealed], world.labels[sealed], budget)


def ask_leaderboard(world: World, agent: Agent, looks: int, rng: np.random.Generator) -> Outcome:
    """Let an agent see the accuracy of each candidate on the same images, and keep the best one."""
    start, truly = world.compute_accuracies(world.base)
    best, shown, betters = world.base, start, 0
    for _ in range(looks):
        candidate = agent(world, best, rng)
        accuracy = world.compute_accuracies(candidate)[0]
        if accuracy > shown:
            best, shown, betters = candidate, accuracy, betters + 1
    return Outcome(shown - start, world.compute_accuracies(best)[1] - truly, betters)


# --- worlds ------------------------------------------------------------------------------------------------------


def make_simulated(images: int, accuracy: float, seed: int) -> World:
    """Make a world of images that differ in how hard they are, for networks of this mean accuracy."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, images + TRUTH)
    concentration = 2.0
    ease = rng.beta(concentration * accuracy, concentration * (1 - accuracy), len(labels))

    def draw(rng: np.random.Generator) -> Array:
        wrong = (labels + rng.integers(1, CLASSES, len(labels))) % CLASSES
        return np.where(rng.random(len(labels)) < ease, labels, wrong)

    return World("simulated", labels, images, draw(rng), draw)


def make_real(name: str, images: Array, labels: Array, sealed: int, train: int) -> tuple[World, list[Array]]:
    """Make a world of a real set. The base and guesses are networks trained on resampled parts of 200 images.

    Returns:
        The world, and the answers of a competent agent: better models on all training images.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    order = np.random.default_rng(0).permutation(len(labels))
    pixels, labels = images.reshape(len(images), -1)[order] / images.max(), labels[order]
    rest = pixels[train:]

    def answer(model: Any, places: Array) -> Array:
        return np.asarray(model.fit(pixels[places], labels[places]).predict(rest))

    few = np.arange(200)
    networks = [
        answer(LogisticRegression(max_iter=200), np.random.default_rng(seed).choice(few, len(few)))
        for seed in range(40)
    ]
    pool = np.stack(networks)

    def draw(rng: np.random.Generator) -> Array:
        return pool[rng.integers(0, len(pool), pool.shape[1]), np.arange(pool.shape[1])]

    every = np.arange(train)
    models = (LogisticRegression(max_iter=200), KNeighborsClassifier(3), SVC(C=10))
    better = [answer(model, every) for model in models]
    return World(name, labels[train:], sealed, draw(np.random.default_rng(0)), draw), better


def list_real() -> Iterator[tuple[World, list[Array]]]:
    """Yield the three sets."""
    from models.bundled import BUNDLED

    digits, mnist = (BUNDLED[name].read(Path()) for name in ("digits", "mnist5k"))
    yield make_real("digits", digits.images, digits.labels, sealed=400, train=600)
    yield make_real("mnist5k", mnist.images, mnist.labels, sealed=1_000, train=2_000)
    rng = np.random.default_rng(1)
    noisy = np.where(rng.random(len(mnist.labels)) < 0.2, rng.integers(0, CLASSES, len(mnist.labels)), mnist.labels)
    yield make_real("mnist5k, a fifth of labels drawn by lot", mnist.images, noisy, sealed=1_000, train=2_000)


# --- tables ------------------------------------------------------------------------------------------------------


def simulate(world: World, agent: Agent, agents: int, looks: int, ask: Any = ask_judge, seed: int = 0) -> list[Outcome]:
    """Let that many agents guess, each with a generator of its own."""
    return [ask(world, agent, looks, np.random.default_rng([seed, number])) for number in range(agents)]


def count_fooled(agents: int, looks: int, images: int, accuracy: float, agent: Agent) -> tuple[int, int]:
    """Return how many agents were ever called better, and how many candidates were refused. Each has its own world."""
    fooled = refused = 0
    for number in range(agents):
        world = make_simulated(images, accuracy, number)
        [outcome] = simulate(world, agent, 1, looks, seed=number)
        fooled, refused = fooled + (outcome.betters > 0), refused + outcome.refused
    return fooled, refused


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--looks", type=int, default=50)
    options = parser.parse_args()
    agents, looks = options.agents, options.looks
    _print_head("agents that guess", "images", "accuracy", "ever called better", "candidates refused, of 100")
    for name, agent in AGENTS.items():
        for images, accuracy in ((200, 0.7), (1_000, 0.9)):
            fooled, refused = count_fooled(agents, looks, images, accuracy, agent)
            share = f"{100 * refused / agents / looks:.0f}"
            print(f"| {agents:,} with {name} | {images:,} | {accuracy:.0%} | {fooled} | {share} |", flush=True)
    _print_head("looks spent", "improvements", "level", "gain that tells, of 200 images", "of 1,000", "of 5,000")
    for spent, betters in ((0, 0), (looks - 1, 0), (10, 1), (20, 2), (30, 3)):
        budget = Budget(looks, spent, betters)
        gains = [f"{100 * estimate_detectable_gain(size // 10, size, budget):.1f}" for size in (200, 1_000, 5_000)]
        print(f"| {spent} | {betters} | {budget.level:.1e} | {' | '.join(gains)} |")
    _print_head("set", "agent", "judge: told", "truly", "leaderboard: told", "truly", "overstated")
    for world, better in list_real():
        for name, agent in AGENTS.items():
            told = [simulate(world, agent, agents // 5, looks, ask) for ask in (ask_judge, ask_leaderboard)]
            _print_row(world.name, f"{agents // 5} with {name}", *told)
        told = [simulate(world, _send_in_turn(better), 1, len(better), ask) for ask in (ask_judge, ask_leaderboard)]
        _print_row(world.name, "a competent one", *told)


def _print_head(*names: str) -> None:
    print(f"\n| {' | '.join(names)} |\n{'|---' * len(names)}|")


def _send_in_turn(sent: list[Array]) -> Agent:
    left = iter(sent)
    return lambda world, best, rng: next(left)


def _print_row(world: str, agent: str, judged: list[Outcome], shown: list[Outcome]) -> None:
    told, true, board, board_true = (
        100 * float(np.mean([getattr(outcome, name) for outcome in outcomes]))
        for outcomes in (judged, shown)
        for name in ("told", "true")
    )
    figures = f"{told:+.1f} | {true:+.1f} | {board:+.1f} | {board_true:+.1f} | {board - board_true:+.1f}"
    print(f"| {world} | {agent} | {figures} |".replace("-", "−"), flush=True)


if __name__ == "__main__":
    main()
