"""Headlines and summaries for faults in the data and in the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import Words, describe_part, describe_share, of_100, percent, pluralize, whole_percents
from heldout.words.changed_images import PIXELS, QUALITIES

if TYPE_CHECKING:
    from heldout.diagnosis.facts import Facts
    from heldout.diagnosis.findings import Finding


def describe_other_pixels(facts: Facts, finding: Finding) -> Words:
    needed = facts.preprocessing
    assert needed is not None
    split, name = ("test", "test") if "test" in needed.before else ("train", "training")
    before, after = whole_percents(needed.before[split].accuracy, needed.after[split].accuracy)
    return Words(
        "The model expects different pixel values than this dataset has.",
        f"It gets {after} of the {name} images right with {needed.change.in_words}, and {before} without.",
        "Prepare images that way wherever the model is used",
        "prepare the images as the model expects",
    )


def describe_leakage(facts: Facts, finding: Finding) -> Words:
    action, then = "Remove the copies and measure again", "remove the copies"
    if "resplit" in (finding.fix or {}):
        action, then = "Split all images again, with copies kept together", "split all images again"
    found = facts.most_copied
    if found is None:
        figures = {name: finding.evidence.get(f"{name}_accuracy") for name in ("validation", "test")}
        if None in figures.values():
            return Words(
                "Some images are in two splits.",
                "They make results look better than they are.",
                action,
                then,
                flatters="Copies flatter results",
            )
        validation, test = whole_percents(
            *(float(figures_of_split) for figures_of_split in figures.values() if figures_of_split is not None)
        )
        return Words(
            "Test results look better than they should.",
            f"It gets {test} of the test images right but only {validation} of the validation images.",
            "Look for test images among the training images",
            "look for copies",
            flatters="Test looks too good",
        )
    name, copies, whole = found
    assert copies.copied is not None
    # The gap also counts copies of copies. The audit, which is quoted below the headline, does not.
    count = min(copies.copied.count, finding.evidence.get(f"{name}_in_train", {}).get("images") or whole.count)
    headline = f"{describe_share(count, whole.count, name)} were copied from training."
    headline = headline if count > 1 else f"One {name} image was copied from training."
    flatters = f"Copies flatter {name} results"
    if copies.clean is None:
        return Words(headline, f"So {name} accuracy says nothing about new images.", action, then, flatters=flatters)
    clean, served = copies.clean.accuracy, whole.accuracy
    shown, instead = whole_percents(clean, served)
    effect = f"The true {name} accuracy is about {shown}, not {instead}."
    if clean > served:
        flatters = ""
        effect = f"The copies did not raise {name} accuracy: without them it is {shown}, not {instead}."
    if round(clean, 3) == round(served, 3):
        flatters, effect = "", f"Without them {name} accuracy is about the same ({shown})."
    return Words(headline, effect, action, then, flatters=flatters)


def describe_label_order(facts: Facts, finding: Finding) -> Words:
    evidence = finding.evidence
    split = evidence.get("split", "test")
    name, figures = ("Validation", facts.validation) if split == "validation" else ("Test", facts.test)
    fix = f"rename the {split} classes"
    before, renamed = facts.get_renamed(finding, split)
    worse = ""
    if evidence.get("worse_than_guessing") and figures is not None:
        guessing = f"guessing gives {round(100 / max(2, len(facts.classes)))}"
        worse = f"It answers worse than guessing ({of_100(figures.accuracy)}; {guessing})."
    if finding.may_be_chance:
        return Words(
            f"{name} labels may be in another order.",
            worse or f"The {split} images are answered as if some classes were exchanged, which may be chance.",
            f"Compare a few {split} images of each class with training images",
            f"compare {split} images with training images of their class",
        )
    if "share" in evidence and renamed is not None:
        part = f"{percent(evidence['share'], 0)} of the {split} labels"
        effect = (
            f"With them corrected, {split} accuracy would be about {percent(renamed, 0)}, not {percent(before, 0)}."
        )
        return Words(f"About {part} are in another order.", effect, "Find and renumber them", f"renumber {part}")
    if renamed is not None:
        effect = worse or f"With the labels as they are, it gets {of_100(float(before))} {split} images right."
        action = f"Renaming the {split} classes gives {of_100(float(renamed))}"
        return Words(f"{name} labels are in another order.", effect, action, fix, before_next="")
    if worse and not any(remedy.fix for remedy in finding.remedies):
        action = f"Check how the {split} labels were joined to the images"
        return Words(f"{name} labels do not belong to the {split} images.", worse, action, f"check the {split} labels")
    effect = worse or f"The {split} split numbers its classes differently from the training split."
    return Words(f"{name} labels are in another order.", effect, f"Rename the {split} classes", fix)


def _describe_pixels(facts: Facts, finding: Finding) -> Words | None:
    """Describe the pixel change that was undone in the finding's split, or return None if none was.

    This says more than the audit, which only knows that images differ. So it is used if undoing it clearly helps.
    """
    split = finding.evidence.get("split", "test")
    pixels = None if facts.gap is None or split == "train" else facts.gap.get_pixels(split)
    chosen = "none" if pixels is None else pixels.chosen
    if pixels is None or chosen not in PIXELS or ("audit" in finding.evidence and not facts.is_undone(split)):
        return None
    _, headline, undone = PIXELS[chosen]
    images, these = f"{split.capitalize()} images", f"the {split} images"
    if pixels.share is not None:
        part = describe_part(pixels.share)
        part = f"about {part}" if part[0].isdigit() else part
        images, these = f"{part[0].upper()}{part[1:]} of the {split} images", "these images"
    before, after = pixels.accuracies
    shown, instead = whole_percents(after, before)
    return Words(
        headline.format(images=images, split=split.capitalize()),
        f"{undone}, {split} accuracy is {shown} instead of {instead}.",
        f"Fix {these}",
        f"fix the {'' if pixels.share is None else 'altered '}{split} images",
    )


def describe_scale(facts: Facts, finding: Finding) -> Words:
    return _describe_pixels(facts, finding) or Words(
        "Pixel values are stored differently in one split.",
        "The network sees different numbers there than in training.",
        "Store the pixels of all splits the same way",
        "store all pixels the same way",
    )


def describe_split_shift(facts: Facts, finding: Finding) -> Words:
    undone = _describe_pixels(facts, finding)
    if undone is not None:
        return undone
    evidence = finding.evidence
    if "validation_accuracy_degraded" in evidence:
        clean, degraded = evidence["validation_accuracy"], evidence["validation_accuracy_degraded"]
        name = QUALITIES[evidence["quality"]].name
        shown, instead = whole_percents(degraded, clean)
        return Words(
            f"The test images are {name}.",
            f"That costs about {pluralize(round(100 * (clean - degraded)), 'point')}: made the same, validation images "
            f"are answered at {shown} instead of {instead}.",
            "Record and store test images as those of training, or train on some like them",
            f"fix the test images, which are {name}",
        )
    validation, test = facts.validation, facts.test
    headline = "The test images are harder than the validation images."
    if "audit" in finding.evidence:
        split = finding.evidence.get("split", "test")
        headline = f"The {'training' if split == 'train' else split} images are of a different kind."
    effect = "They were collected or prepared differently."
    if validation is not None and test is not None and validation.accuracy > test.accuracy:
        effect = (
            f"It gets {of_100(validation.accuracy)} validation images right but only {of_100(test.accuracy)} test "
            "images, and was trained on neither."
        )
    return Words(
        headline,
        effect,
        "Compare how the splits were collected, or split all images again",
        "compare how the splits were collected",
    )


def describe_conflicts(facts: Facts, finding: Finding) -> Words:
    images = finding.evidence.get("images")
    return Words(
        "Some pictures have two labels.",
        f"{pluralize(images, 'image') if isinstance(images, int) else 'Some images'} have a copy with another label; "
        "no network gets both right.",
        "Look at the pairs and keep one label for each",
        "look at the pictures with two labels",
    )


def describe_noise(facts: Facts, finding: Finding) -> Words:
    evidence = finding.evidence
    effect = "The check of labels found more wrong ones than chance explains."
    if "wrong_labels" in evidence:
        shares = [
            f"{of_100(counted['count'] / counted['images'])} {'training' if split == 'train' else split} labels"
            for split, counted in evidence["wrong_labels"].items()
        ]
        effect = f"About {' and '.join(shares)} are wrong."
    elif "contradicted" in evidence:
        effect = f"Where the network is surest, it contradicts {of_100(evidence['share'])} training labels."
    elif "train_accuracy" in evidence:
        effect = (
            f"It gets {of_100(evidence['validation_accuracy'])} validation images right but only "
            f"{of_100(evidence['train_accuracy'])} of the images it was trained on."
        )
    return Words("Some labels look wrong.", effect, "Review the suspected labels first", "review the suspected labels")


def describe_memorized_noise(facts: Facts, finding: Finding) -> Words:
    assert facts.validation is not None
    chance = float(finding.evidence["chance"])
    has_few_images = finding.evidence.get("has_few_images", False)
    return Words(
        "Nothing that it learned holds for new images."
        if has_few_images
        else "The labels seem to have nothing to do with the images.",
        f"It gets {of_100(float(finding.evidence['train_accuracy']))} training images right but only "
        f"{of_100(facts.validation.accuracy)} new ones; guessing gives {round(100 * chance)}.",
        "Check how labels were joined to images" + (", then collect many more images" if has_few_images else ""),
    )


def describe_few_test_images(facts: Facts, finding: Finding) -> Words:
    evidence = finding.evidence
    if "needed" not in evidence or facts.test is None:
        return Words(
            "A class has too few test images.",
            "Its results are mostly chance.",
            "Add test images of it",
            "add test images",
        )
    low, high = evidence["test_interval"]
    return Words(
        "The test set is too small to rely on.",
        f"With {pluralize(facts.test.count, 'test image')}, the true accuracy may be anywhere from {percent(low, 0)} "
        f"to {percent(high, 0)}.",
        f"Use about {float(format(evidence['needed'], '.2g')):,.0f} test images",
        "use more test images",
    )


def describe_artefact(facts: Facts, finding: Finding) -> Words:
    return Words(
        "The training accuracy that Keras prints is too low.",
        "It is an average over the epoch, with dropout and augmentation switched on.",
        "Compare with the measured training accuracy instead",
    )
