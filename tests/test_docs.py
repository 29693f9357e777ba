"""The reference names every setting, field, command, error code and route; the README's claims hold."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, create_model
from pydantic_core import PydanticUndefined, to_json

from heldout import errors
from heldout.access.webhooks import PING, WEBHOOK_EVENTS
from heldout.lifecycle import job as lifecycle
from heldout.lifecycle.resources import DatasetStatus, StudyStatus
from heldout.remedies.arms import BY_VERDICT, USUAL
from heldout.remedies.catalogue import AFTER_TRAINING, REMEDIES
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.spec.network import NetworkSpec, OwnNetworkSpec
from heldout.spec.part import MAX_SEED
from scripts.events import EVENT_TYPES
from scripts.guides import GUIDES
from tests.damaged_files import as_markdown

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"


def _all(kind: type[errors.HeldoutError]) -> set[type[errors.HeldoutError]]:
    return {kind} | {subclass for below in kind.__subclasses__() for subclass in _all(below)}


# Heading of the section about each kind of network: some of their fields have the same names.
NETWORKS: dict[type[BaseModel], str] = {NetworkSpec: "## `network`\n", OwnNetworkSpec: "## `network` of your own\n"}
each_network = pytest.mark.parametrize("network", NETWORKS)


def _table_of_spec(network: type[BaseModel]) -> dict[str, list[str]]:
    """Read the tables about specs with this kind of network."""
    text = (REFERENCE / "spec.md").read_text(encoding="utf-8")
    for other, heading in NETWORKS.items():
        if other is not network:
            before, _, rest = text.partition(heading)
            text = before + rest[rest.index("\n## ") :]
    return _table_in(text)


def _spec_with(network: type[BaseModel]) -> type[BaseModel]:
    return create_model("Spec", __base__=JobSpec, network=(network, ...))


def _table(page: str) -> dict[str, list[str]]:
    return _table_in((REFERENCE / page).read_text(encoding="utf-8"))


def _table_in(text: str) -> dict[str, list[str]]:
    """Map each name in the first column of a page's tables to the other columns of its first row."""
    rows = re.findall(r"^\| (.+?) \|(.*)\|$", text, re.MULTILINE)
    named: dict[str, list[str]] = {}
    for first, rest in rows:
        for name in re.findall(r"`([^`]+)`", first):
            named.setdefault(name, [part.strip() for part in rest.split("|")])
    return named


def test_generated_documentation_is_up_to_date() -> None:
    reference = runpy.run_path(str(ROOT / "scripts/reference.py"))
    assert reference["outdated"]() == [], "run `make reference`"
    # Each error needs a docstring of its own that says when it occurs; otherwise it would inherit the base class's.
    for kind in reference["kinds_of_errors"]():
        assert kind.__doc__, f"{kind.__name__} has no docstring"


def test_guides_are_linked_from_existing_routes_and_commands() -> None:
    pages = "".join((REFERENCE / page).read_text("utf-8") for page in ("routes.md", "commands.md"))
    named = {name for names in GUIDES.values() for name in names}
    assert {name for name in named if f"### `{name}`\n" not in pages} == set()


def test_the_reference_lists_exactly_the_events_in_the_code() -> None:
    named: set[str] = set()
    for room in ("models", "worker", "api"):
        for path in (ROOT / room).rglob("*.py"):
            named |= set(
                re.findall(r'"((?:job|dataset|study|model|webhook)\.[a-z_]+)"', path.read_text(encoding="utf-8"))
            )
    # Written as `dataset.<status>` and `study.<status>`.
    named |= {f"dataset.{status.value}" for status in DatasetStatus} | {*WEBHOOK_EVENTS, PING}
    named |= {f"study.{status.value}" for status in StudyStatus if status is not StudyStatus.RUNNING}
    # Evaluations are jobs with events under their own name; they cannot be paused.
    of_evaluations = "queued started warning requeued cancelling cancelled succeeded failed"
    named |= {f"evaluation.{name}" for name in of_evaluations.split()}
    assert named - {"study.json", "model.keras"} == EVENT_TYPES.keys()


def test_every_code_of_a_failed_job_is_in_the_reference() -> None:
    table = _table("problems.md")
    assert table.keys() >= set(lifecycle.FailureCode) - {lifecycle.FailureCode.CHECKPOINT_DAMAGED}


def _leaves(part: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path of each field of a spec, with its default."""
    for name, field in part.model_fields.items():
        here, default = f"{path}{name}", field.get_default()
        parts = [model for model in _models_in(field.annotation) if not model.__name__.endswith("Schedule")]
        for inner in parts:
            yield from _leaves(inner, f"{here}[]." if get_origin(field.annotation) is tuple else f"{here}.")
        if not parts or default is None or get_origin(field.annotation) is tuple:
            yield here, default


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


@each_network
def test_every_field_of_a_spec_is_in_the_reference_with_its_default(network: type[BaseModel]) -> None:
    table = _table_of_spec(network)
    fields = dict(_leaves(_spec_with(network)))
    assert {name for name in table if name.partition(".")[0] in JobSpec.model_fields} == fields.keys()
    for name, default in fields.items():
        stated = table[name][0]
        if stated in ("generated", "drawn"):
            assert default is None
        elif stated == "required":
            assert default is PydanticUndefined
        else:
            assert _value(stated.strip("`")) == json.loads(to_json(default)), name


def _bounds(part: type[BaseModel], path: str = "") -> Iterator[tuple[str, float, float]]:
    """Yield the path of each number of a spec that has two bounds, with the bounds."""
    for name, field in part.model_fields.items():
        here = f"{path}{name}"
        for inner in _models_in(field.annotation):
            if not inner.__name__.endswith("Schedule"):
                yield from _bounds(inner, f"{here}[]." if get_origin(field.annotation) is tuple else f"{here}.")
        schema = TypeAdapter(Annotated[field.annotation, field, *field.metadata]).json_schema()
        for choice in schema.get("anyOf", [schema]):
            if "minimum" in choice and "maximum" in choice:
                yield here, choice["minimum"], choice["maximum"]


@each_network
def test_the_reference_gives_the_bounds_of_numeric_fields(network: type[BaseModel]) -> None:
    table, found = _table_of_spec(network), list(_bounds(_spec_with(network)))
    assert len(found) > 20
    for name, least, most in found:
        if most == 10**9:  # a limit that no one reaches
            continue
        stated = table[name][1].replace("−", "-").replace("2³¹ - 1", str(MAX_SEED))
        assert f"{least:.10g}–{most:.10g}" in stated or f"{least:.10g} to {most:.10g}" in stated, (name, least, most)


def _choices(part: type[BaseModel], path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield the path of each field of a spec that is a choice of words, with the words."""
    for name, field in part.model_fields.items():
        here = f"{path}{name}"
        for inner in _models_in(field.annotation):
            if not inner.__name__.endswith("Schedule"):
                yield from _choices(inner, f"{here}[]." if get_origin(field.annotation) is tuple else f"{here}.")
        schema = TypeAdapter(Annotated[field.annotation, field]).json_schema()
        words = {word for choice in schema.get("anyOf", [schema]) for word in choice.get("enum", ())}
        if words:
            yield here, words


@each_network
def test_the_reference_lists_the_choices_of_fields(network: type[BaseModel]) -> None:
    table, found = _table_of_spec(network), list(_choices(_spec_with(network)))
    assert len(found) > 8
    for name, words in found:
        if table[name][1] != "as of a block":
            assert words <= set(re.findall(r"`([a-z0-9_]+)`", table[name][1])), name


def _value(stated: str) -> Any:
    """Parse JSON, or return a word that has no quotes."""
    try:
        return json.loads(stated)
    except ValueError:
        return stated


def test_the_reference_lists_every_remedy_and_what_auto_chooses() -> None:
    table = _table("remedies.md")
    assert table.keys() >= {*REMEDIES, *BY_VERDICT}
    for verdict, names in BY_VERDICT.items():
        assert re.findall(r"`([^`]+)`", table[verdict][0]) == list(names)
    page = (REFERENCE / "remedies.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{name}`" for name in USUAL) in page
    assert all(f"`{name}`" in page for name in AFTER_TRAINING)


@pytest.mark.parametrize("example", ["overfit", "regularized", "augmented", "memorizing", "resnet20"])
def test_the_reference_gives_the_parameter_counts_of_the_examples(example: str) -> None:
    spec = JobSpec.model_validate(json.loads((ROOT / "examples" / f"{example}.json").read_text()))
    parameters = plan_network(spec.network, (28, 28, 1), 10).parameters
    row = re.search(rf"^\| `examples/{example}\.json` \|.*$", (REFERENCE / "spec.md").read_text("utf-8"), re.MULTILINE)
    assert row is not None
    assert f"{parameters:,}" in row.group()


def test_the_readme_is_short_enough_to_finish() -> None:
    readme = (ROOT / "README.md").read_bytes()
    assert len(readme) <= 6500
    assert len(re.findall(rb"\]\(|https?://(?!127\.0\.0\.1|localhost)", readme)) <= 20


def test_the_front_page_leads_to_every_guide_and_explanation() -> None:
    front = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for folder in ("tutorial", "how-to", "reference", "explanation"):
        for page in (ROOT / "docs" / folder).glob("*.md"):
            assert f"({folder}/{page.name})" in front, page


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
            led = page.parent / target if target else page
            assert led.exists(), f"{page.relative_to(ROOT)} links to {target}"
            assert not anchor or anchor in _anchors(led), f"{page.relative_to(ROOT)} links to {target}#{anchor}"
            # Only docs/ is in the manual.
            assert page.name == "README.md" or (ROOT / "docs") in led.resolve().parents


def _anchors(page: Path) -> set[str]:
    """Return the anchors that Markdown viewers and the manual make from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_manual_lists_the_responses_for_each_damaged_file():
    assert as_markdown() in (ROOT / "docs" / "how-to" / "backup.md").read_text()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "explanation").glob("*.md")), ids=lambda page: page.stem)
def test_an_explanation_is_short_enough_to_be_read(page: Path) -> None:
    assert len(page.read_text("utf-8").splitlines()) <= 200, "move its tables to docs/measurements/"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "measurements").glob("*.md")), ids=lambda page: page.stem)
def test_a_measurement_names_its_date_machine_and_command(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.search(r"202\d-\d\d-\d\d", text)
    assert re.search(r"\bcores\b|\| any\b", text)
    assert re.search(r"`(python -m benchmarks|make bench)|no command in the repository", text)


def test_the_readme_says_that_the_demo_installs_first():
    [demo] = re.findall(r"^\$ make demo +# (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert re.search(r"^demo: setup\b", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert re.match(r"installs [\d.]+ GB once, then", demo)
