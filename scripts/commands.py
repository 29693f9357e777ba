"""Writes the reference of commands from what `--help` prints."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from typer.core import TyperGroup
from typer.main import get_command

from api.__main__ import commands as server_commands
from heldout.cli import host_commands
from heldout.cli.app import app as client_commands
from scripts.guides import link_guides
from scripts.markdown import table


def write_commands() -> str:
    ours = [
        described
        for described in _commands(get_command(client_commands), "heldout")
        if not host_commands.is_of_server(described[0].split()[1:])
    ]
    servers = [
        described for described in _commands(get_command(server_commands), "heldout") if described[0] != "heldout serve"
    ]
    return f"## Commands of a client\n{_section(ours)}\n## Commands of the server\n{_section(servers)}"


def _section(commands: list[tuple[str, Any]]) -> str:
    index = table(
        ("command", "does"),
        ((f"[`{words}`](#{words.replace(' ', '-')})", _help(command).split("\n\n")[0]) for words, command in commands),
    )
    return f"\n{index}{''.join(_command(*described) for described in commands)}"


def _help(command: Any) -> str:
    return (command.help or "").strip()


def _command(words: str, command: Any) -> str:
    text = f"\n### `{words}`\n\n{_help(command)}\n{link_guides(words)}"
    rows = [
        _option(parameter)
        for parameter in command.params
        if parameter.name != "help" and not getattr(parameter, "hidden", False) and not _is_common(words, parameter)
    ]
    return text + ("\n" + table(("argument or option", "takes", "default", "meaning"), rows) if rows else "")


def _is_common(words: str, parameter: Any) -> bool:
    return "--json" in parameter.opts or ("--home" in parameter.opts and words != "heldout up")


def _commands(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    """Yield the words of each command, and the command."""
    for name, part in group.commands.items():
        if getattr(part, "hidden", False):
            continue
        if not part.hidden and (not isinstance(part, TyperGroup) or part.invoke_without_command):
            yield " ".join((*before, name)), part
        if isinstance(part, TyperGroup):
            yield from _commands(part, *before, name)


def _option(parameter: Any) -> tuple[str, ...]:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    kind = "" if getattr(parameter, "is_flag", False) else parameter.metavar or _annotated(parameter)
    default = parameter.default
    is_said = isinstance(default, (str, int, float, Path)) and default is not False and default != ""
    return (
        ", ".join(f"`{name}`" for name in names),
        f"{kind}, repeatable" if getattr(parameter, "multiple", False) else kind,
        "required" if parameter.required else f"`{default}`" if is_said else "",
        " ".join((getattr(parameter, "help", "") or "").split()),
    )


def _annotated(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    while get_origin(annotation) in (list, tuple, Union, UnionType):
        annotation = get_args(annotation)[0]
    choices = get_args(annotation) or (tuple(annotation) if issubclass(annotation, Enum) else ())
    return ", ".join(f"`{choice}`" for choice in choices) or getattr(annotation, "__name__", str(annotation)).lower()
