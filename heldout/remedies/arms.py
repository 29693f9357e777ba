"""Turns the remedies that a study should measure into its arms, and chooses those of `auto`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from heldout.errors import InvalidSpec
from heldout.remedies.catalogue import AFTER_TRAINING, REMEDIES
from heldout.remedies.change import Change, NoChange, Outcome, RemedyBase, Spec
from heldout.spec.documents import make_patch, merge
from heldout.spec.field_errors import list_field_errors
from heldout.spec.job import JobSpec
from heldout.spec.model_facts import NetworkFacts
from heldout.studies.spec import BASE_ARM, FIRST_REMEDIES, NamedPatch
from heldout.verdicts import FINDING_KINDS

JOINT = "+"
# The client's own patches by name, each with its pointer into the request.
_Own = Mapping[str, tuple[str, NamedPatch]]
# What is the same in every arm of a study, or says nothing about the training.
_SET_BY_THE_STUDY = ("dataset", "validation", "evaluation", "resources", "limits", "priority", "name", "metadata")
_SET_BY_THE_STUDY_IN_TRAINING = ("seed", "precision")


@dataclass(frozen=True)
class ResolvedArm:
    """One remedy of a study.

    patch: a merge patch (RFC 7396) of the base spec; empty until one of `candidates` is chosen.
    did: what the remedy changes, in one sentence.
    parts: for a combination `a+b`, the names of its arms `a` and `b`.
    candidates: patches of the base spec, from which a search chooses one.
    """

    name: str
    patch: dict[str, Any]
    did: str
    parts: tuple[str, ...] = ()
    candidates: tuple[dict[str, Any], ...] = ()


def resolve(
    asked: Sequence[str | NamedPatch],
    spec: JobSpec,
    *,
    train_images: int | None = None,
    facts: NetworkFacts | None = None,
) -> tuple[ResolvedArm, ...]:
    """Make the arms of a study, except its base, in the order requested.

    The parts of a combination become arms before it, if they were not requested themselves.

    Args:
        train_images: how many images the base trains on; remedies that depend on the number of steps adapt to it.
        facts: about the uploaded model that is the base's network.
    Raises:
        InvalidSpec: if a name is unknown or repeated, or a remedy would change nothing; with `/remedies/<place>`.
    """
    base = RemedyBase(spec.model_dump(mode="json"), train_images, facts)
    own = {item.name: (f"/remedies/{place}", item) for place, item in enumerate(asked) if isinstance(item, NamedPatch)}
    names = [item.name if isinstance(item, NamedPatch) else item for item in asked]
    found: dict[str, ResolvedArm] = {}
    for place, (name, item) in enumerate(zip(names, asked, strict=True)):
        pointer = f"/remedies/{place}"
        if name in names[:place]:
            raise InvalidSpec.at(pointer, f"{name!r} is listed twice.")
        if isinstance(item, NamedPatch):
            _require_own_name(name, pointer)
        for arm in (*name.split(JOINT), name):
            if arm in found:
                continue
            change = resolve_remedy(arm, base, pointer, own)
            if isinstance(change, NoChange):
                raise InvalidSpec.at(pointer, f"{arm!r} would change nothing. {change.why}")
            parts = tuple(arm.split(JOINT)) if JOINT in arm else ()
            found[arm] = ResolvedArm(arm, change.patch, change.did, parts, change.candidates)
    return tuple(found.values())


def resolve_remedy(name: str, base: RemedyBase, pointer: str = "/remedy", own: _Own | None = None) -> Outcome:
    """Compute what a remedy, or a combination of several, does to a spec.

    Args:
        own: the client's own patches; without them, only the catalogue has remedies.
    Raises:
        InvalidSpec: if there is no such remedy, or one part undoes another.
    """
    own, parts, alone = own or {}, name.split(JOINT), dict[str, Change]()
    for part in parts:
        outcome = _compute_outcome(part, own, base, pointer)
        if isinstance(outcome, NoChange):
            return outcome
        alone[part] = outcome
    return alone[name] if len(parts) == 1 else _combine(parts, alone, own, base, pointer)


def _combine(parts: Sequence[str], alone: Mapping[str, Change], own: _Own, base: RemedyBase, pointer: str) -> Change:
    name = JOINT.join(parts)
    if len(set(parts)) < len(parts):
        raise InvalidSpec.at(pointer, f"{name!r} names one remedy twice.")
    under, specs = base, [base.spec]
    # Own patches are fixed and go first. Named remedies read the spec that they change, so no list item gets lost.
    for part in sorted(parts, key=lambda part: part not in own):
        outcome = _compute_outcome(part, own, under, pointer)
        if isinstance(outcome, NoChange):
            raise InvalidSpec.at(
                pointer, f"{part!r} has nothing left to change after the rest of {name!r}. {outcome.why}"
            )
        specs = [
            _complete_spec(merge(item, patch)) for item in specs for patch in outcome.candidates or (outcome.patch,)
        ]
        under = replace(under, spec=_complete_spec(merge(under.spec, outcome.patch)))
    fixed = {part: _complete_spec(merge(base.spec, alone[part].patch)) for part in parts if not alone[part].candidates}
    for part, changed in fixed.items():
        if changed in specs:
            raise InvalidSpec.at(pointer, f"{name!r} does not combine its parts: it equals {part!r} alone.")
    for part, changed in fixed.items():
        if not all(_differs_everywhere(base.spec, changed, item) for item in specs):
            raise InvalidSpec.at(
                pointer, f"{name!r} does not combine its parts: the other part undoes what {part!r} changes."
            )
    did = " ".join(alone[part].did for part in parts)
    patches = [make_patch(base.spec, item) for item in specs]
    return Change(patches[0], did) if len(fixed) == len(parts) else Change({}, did, tuple(patches))


def _differs_everywhere(before: Any, alone: Any, together: Any) -> bool:
    """Return whether each leaf that `alone` changes also differs from `before` in `together`."""
    if before == alone:
        return True
    if isinstance(before, Mapping) and isinstance(alone, Mapping) and isinstance(together, Mapping):
        names = set(before) | set(alone)
        return all(_differs_everywhere(before.get(name), alone.get(name), together.get(name)) for name in names)
    lists = isinstance(before, list) and isinstance(alone, list) and isinstance(together, list)
    if lists and len(before) == len(alone) == len(together):
        return all(map(_differs_everywhere, before, alone, together))
    return bool(before != together)


def _compute_outcome(name: str, own: _Own, base: RemedyBase, pointer: str) -> Outcome:
    if name in own:
        where, patch = own[name]
        return _compute_own_outcome(patch, base, where)
    if name in AFTER_TRAINING:
        raise InvalidSpec.at(pointer, f"{name!r} is not a remedy that can be trained. {AFTER_TRAINING[name]}")
    if name not in REMEDIES:
        known = ", ".join(sorted(REMEDIES))
        raise InvalidSpec.at(
            pointer,
            f"There is no remedy {name!r}. There are {known}, and combinations such as dropout+augmentation. Send a "
            "change of your own as a patch.",
        )
    return REMEDIES[name].change(base)


def _compute_own_outcome(own: NamedPatch, base: RemedyBase, pointer: str) -> Outcome:
    training = own.patch.get("training")
    fixed = [f"/{name}" for name in _SET_BY_THE_STUDY if name in own.patch]
    if isinstance(training, Mapping):
        fixed += [f"/training/{name}" for name in _SET_BY_THE_STUDY_IN_TRAINING if name in training]
    if fixed:
        raise InvalidSpec.at(
            f"{pointer}/patch{fixed[0]}", "The study keeps this the same in every arm, so that only the remedy differs."
        )
    content = merge(base.spec, own.patch)
    try:
        changed = JobSpec.model_validate(content)
    except ValidationError as error:
        [first, *_] = list_field_errors(error.errors(include_url=False), content, JobSpec)
        raise InvalidSpec.at(pointer, f"The spec would not be valid. {first.pointer}: {first.detail}") from error
    if changed.model_dump(mode="json") == base.spec:
        return NoChange("The spec already has all of this.")
    return Change(own.patch, "Changes the spec as the client requested.")


def _require_own_name(name: str, pointer: str) -> None:
    if name == BASE_ARM or JOINT in name:
        why = "is the name of the unchanged arm" if name == BASE_ARM else f"contains {JOINT}, which joins remedies"
        raise InvalidSpec.at(f"{pointer}/name", f"{name!r} {why}; choose another name for your patch.")


def _complete_spec(content: Spec) -> Spec:
    """Fill in the defaults that a merge removed. An invalid spec is returned unchanged and refused elsewhere."""
    try:
        return JobSpec.model_validate(content).model_dump(mode="json")
    except ValueError:
        return content


MIN_ARMS, MAX_ARMS = 4, 8
# Remedies to try if nothing is known, or nothing is known to be wrong.
USUAL = ("augmentation", "dropout", "dropout+augmentation", "horizontal_flip", "label_smoothing", "longer_cosine")
# Always the last arm: compared with a badly tuned base, a remedy looks better than it is.
TUNING = "retune"
BY_VERDICT = {code: kind.remedies for code, kind in FINDING_KINDS.items() if kind.remedies}


def choose_first(names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the chosen remedies that a first answer compares: the most likely to help, and no search."""
    found: list[str] = []
    for name in names:
        has_parts = all(part in found for part in name.split(JOINT)) if JOINT in name else True
        if name != TUNING and has_parts and len(found) < FIRST_REMEDIES:
            found.append(name)
    return tuple(found)


def choose_remedies(base: RemedyBase, verdict: str | None = None, findings: Sequence[str] = ()) -> tuple[str, ...]:
    """Choose four to eight remedies, each of which changes the spec, the most likely to help first.

    Args:
        verdict: of a diagnosis that has not seen the test split; None if there is no training yet.
        findings: the codes of its serious findings; the first remedy of each that suits the base is added.
    """
    first = [name for code in findings for name in _keep_suitable(BY_VERDICT.get(code, ()), base)[:1]]
    wanted = _keep_suitable([*BY_VERDICT.get(verdict or "", USUAL), *first], base)
    # Whatever else was found: on photographs nothing else helps as much.
    wanted.sort(key=lambda name: name != "pretrained")
    found = _keep_effective(wanted, base)
    if len(found) < MIN_ARMS - 1:
        found = _keep_effective([*wanted, *USUAL], base)[: MIN_ARMS - 1]
    return (*found[: MAX_ARMS - 1], TUNING)


def _keep_suitable(names: Sequence[str], base: RemedyBase) -> list[str]:
    return [name for name in names if all(REMEDIES[part].suits(base) for part in name.split(JOINT))]


def _keep_effective(names: Sequence[str], base: RemedyBase) -> list[str]:
    return [name for name in dict.fromkeys(names) if _changes_something(name, base)]


def _changes_something(name: str, base: RemedyBase) -> bool:
    try:
        return isinstance(resolve_remedy(name, base), Change)
    except InvalidSpec:  # a combination whose parts exclude each other on this spec
        return False
