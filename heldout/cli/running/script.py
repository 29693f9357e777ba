"""The command of `--run` with its placeholders, and the arms that fill them. Pure but for the search of the program."""

import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.cli.outcome import Refused
from heldout.spec.field_errors import ask_whether_meant, suggest_names

# What every training gets; all others are parameters of the arms.
ANSWERS, SEED, FOLD = "out", "seed", "fold"
GIVEN = (ANSWERS, SEED, FOLD, "folds", "arm")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_][\w.-]*)\}")
_ESCAPED = {"{{": "{", "}}": "}"}
_PARAMETER_NAME = re.compile(r"[A-Za-z_][\w.-]*")

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Script:
    """A command, argument by argument. No shell reads it, so values cannot become more than text of an argument.

    folder: where it starts; None: here.
    """

    arguments: tuple[str, ...]
    folder: Path | None = None

    @property
    def names(self) -> set[str]:
        """The names of its placeholders."""
        found = (match["name"] for argument in self.arguments for match in _PLACEHOLDER.finditer(argument))
        return {name for name in found if name is not None}

    def fill(self, values: Mapping[str, Any]) -> list[str]:
        """Replace the placeholders. An argument that is nothing but placeholders without text is left out."""
        filled = [
            (argument, _PLACEHOLDER.sub(lambda found: _replace(found, values), argument)) for argument in self.arguments
        ]
        return [text for argument, text in filled if text or not argument]


def parse_script(text: str) -> Script:
    """Divide a command into arguments, as a shell would.

    Raises:
        Refused: it has unclosed quotes, is empty, or names a program that is not installed.
    """
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as error:
        raise Refused(f"--run: {error}. Quote it as in a shell.") from None
    if not arguments:
        raise Refused('--run is empty; expected a command such as "python train.py --seed {seed} --out {out}".')
    if shutil.which(arguments[0]) is None:
        raise Refused(f"--run: there is no program {arguments[0]!r}. Name one that a shell finds here.")
    return Script(arguments)


def parse_arms(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Read `NAME:PARAMETER=VALUE,PARAMETER=VALUE` for each arm, as the body of an order has them.

    Numbers, true and false are values of these types, and everything else is text.
    """
    return [_parse_arm(text) for text in texts]


def check(script: Script, arms: Mapping[str, Parameters], splits: str) -> None:
    """Check that the placeholders and the parameters of all arms are the same.

    Raises:
        Refused: with the placeholder or parameter that the other side lacks.
    """
    needed = [SEED, ANSWERS, *([FOLD] if splits == "resampled" else [])]
    for name in needed:
        if name not in script.names:
            raise Refused(f"--run has no {{{name}}}. {_WHY_NEEDED[name]}")
    for arm, parameters in arms.items():
        for name in script.names - set(GIVEN) - parameters.keys():
            meant = ask_whether_meant(suggest_names(name, [*parameters, *GIVEN]))
            raise Refused(f"--run has {{{name}}}, but the arm {arm!r} has no value for it.{meant}")
        for name in parameters:
            if name in GIVEN:
                raise Refused(f"The arm {arm!r} sets {name}, which each training gets from the study. Rename it.")
            if name not in script.names:
                raise Refused(f"The arm {arm!r} sets {name}, but --run has no {{{name}}}, so it would change nothing.")


_WHY_NEEDED = {
    SEED: "Without it all trainings of an arm would be the same.",
    ANSWERS: "It is the file to which a training writes its answers.",
    FOLD: "With --splits resampled, the script cuts its validation images by it.",
}


def _parse_arm(text: str) -> dict[str, Any]:
    name, _, rest = text.partition(":")
    parameters: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        parameter, equals, value = part.partition("=")
        if not equals or not _PARAMETER_NAME.fullmatch(parameter):
            raise Refused(f"--arm {text}: received {part!r}; expected NAME:PARAMETER=VALUE,PARAMETER=VALUE.")
        if parameter in parameters:
            raise Refused(f"--arm {text}: {parameter} occurs twice.")
        parameters[parameter] = _parse_value(value)
    return {"name": name.strip(), "parameters": parameters}


def _parse_value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _replace(found: re.Match[str], values: Mapping[str, Any]) -> str:
    if found["name"] is None:
        return _ESCAPED[found[0]]
    value = values[found["name"]]
    return value if isinstance(value, str) else json.dumps(value)
