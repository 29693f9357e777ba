"""Which renaming of the classes would make most answers right."""

from collections.abc import Sequence

from heldout.diagnosis.thresholds import MAX_DIGITS


def best_renaming(confusion: Sequence[Sequence[int]], *, more_than: float) -> list[int] | None:
    """For each label the answer that it should have been called, each answer once.

    Args:
        confusion: (classes, classes) counts, rows the labels and columns the answers.
        more_than: how many answers have to be right by it.
    Returns:
        None if no renaming makes more than `more_than` answers right.
    """
    # SciPy takes half a second and 35 MB to import, and a worker asks this at the end of each job. No renaming does
    # better than the largest count of each row, or of each column; rows whose largest are in different columns need
    # no search.
    if min(sum(map(max, confusion)), sum(map(max, zip(*confusion, strict=True)))) <= more_than:
        return None
    named = [row.index(max(row)) for row in confusion]
    if len(set(named)) < len(named):
        from scipy.optimize import linear_sum_assignment

        named = linear_sum_assignment(confusion, maximize=True)[1].tolist()
    right = sum(row[answer] for row, answer in zip(confusion, named, strict=True))
    return named if right > more_than else None


def usual_renamings(classes: Sequence[str]) -> list[list[int]]:
    """What usually goes wrong: numbered from another number on, backwards, or by name instead of by number.

    Args:
        classes: names, in the order of their labels.
    Returns:
        For each mistake the label that each label means; without repetitions.
    """
    count = len(classes)
    labels = list(range(count))
    found = [labels[1:] + labels[:1], labels[-1:] + labels[:-1], labels[::-1]]
    by_name = sorted(labels, key=lambda label: classes[label])
    by_number = sorted(labels, key=lambda label: _number_in(classes[label]))
    for order in (by_name, by_number):
        found += [order, [order.index(label) for label in labels]]
    for given, meant in ((by_number, by_name), (by_name, by_number)):
        found.append([meant[given.index(label)] for label in labels])
    unique = {tuple(renaming) for renaming in found if renaming != labels}
    return [list(renaming) for renaming in sorted(unique)]


def _number_in(name: str) -> tuple[str, int]:
    """`class 10` after `class 9`."""
    start = name.rstrip("0123456789")
    return start, int(name[len(start) :][:MAX_DIGITS] or 0)
