"""The skill for coding assistants: the files of `skills/heldout`, which a link makes part of this package."""

from pathlib import Path

FOLDER = Path(__file__).parent / "skill_files"


def read_skill() -> dict[str, bytes]:
    """Return the content of each file by its path in the folder of the skill, SKILL.md first."""
    paths = [path for path in sorted(FOLDER.rglob("*")) if path.is_file()]
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in paths}
