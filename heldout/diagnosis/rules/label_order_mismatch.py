"""Label order mismatch: the test split numbers its classes in another order than training and validation do."""

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.renaming import best_renaming
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE, MIN_CRITICAL_SHIFT, MIN_EXPLAINED_BY_RENAMING
from heldout.diagnosis.words import percent
from heldout.intervals import newcombe_interval


def find(facts: Facts) -> list[Finding]:
    """What the audit found, else a renaming of test's classes that makes it as good as validation."""
    validation, test = facts.validation, facts.test
    if "label_order_mismatch" in facts.audited:
        return list(facts.audited["label_order_mismatch"])
    if validation is None or test is None or len(test.confusion) < 2:
        return []
    if test.accuracy > validation.accuracy - MIN_CRITICAL_SHIFT:
        return []
    # Any matrix has a best renaming: it is one only where it explains what is missing, as well as validation is known.
    explained = test.accuracy + MIN_EXPLAINED_BY_RENAMING * (validation.accuracy - test.accuracy)
    renamed = best_renaming(test.confusion, more_than=explained * test.count)
    if renamed is None:
        return []
    accuracy = sum(row[answer] for row, answer in zip(test.confusion, renamed, strict=True)) / test.count
    low, _ = newcombe_interval((round(accuracy * test.count), test.count), test.counts, COMPARISON_CONFIDENCE)
    if low <= MIN_CRITICAL_SHIFT:
        return []
    names = facts.classes or tuple(map(str, range(len(renamed))))
    mapping = {names[given]: names[meant] for given, meant in enumerate(renamed) if given != meant}
    shown = ", ".join(f"{given} → {meant}" for given, meant in list(mapping.items())[:10])
    shown += ", …" if len(mapping) > 10 else ""
    return [
        Finding(
            "label_order_mismatch",
            "critical",
            f"Test accuracy is {percent(test.accuracy)}, but {percent(accuracy)} if the classes are renamed ({shown}). "
            "The test split numbers its classes in another order than training and validation do.",
            {
                "test_accuracy": test.accuracy,
                "test_accuracy_renamed": accuracy,
                "validation_accuracy": validation.accuracy,
                "renamed": mapping,
            },
            (remedies.mend_data("Number the classes of the test split as the training split does, and upload again."),),
        )
    ]
