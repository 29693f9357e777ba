"""A server of tools that refuses unknown arguments, and says plainly which arguments are wrong."""

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ValidationError

from heldout.cli.mcp_server.words import describe_refused_arguments


class StrictServer(MCPServer[None]):
    """Says plainly which arguments of a tool are wrong."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError(describe_refused_arguments(error.__cause__)) from None


def make_strict(tool: Callable[..., Awaitable[str]], annotations: ToolAnnotations) -> Tool:
    """Make the tool refuse unknown arguments: a misspelled `dry_run` must not start trainings."""
    made = Tool.from_function(tool, annotations=annotations, structured_output=False)
    taken = made.fn_metadata.arg_model
    made.fn_metadata.arg_model = type(taken.__name__, (taken,), {"__module__": __name__}, extra="forbid")
    made.parameters["additionalProperties"] = False
    return made
