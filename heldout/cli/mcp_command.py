"""`heldout mcp`: the tools of assistants, over standard input and output."""

from heldout.cli.command import Home
from heldout.cli.outcome import Refused


def mcp(home: Home = None) -> None:
    """Serve assistants of developers by the Model Context Protocol. On standard input and output, until they close."""
    try:
        from heldout.cli.mcp_server.server import make_server
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise Refused("`heldout mcp` needs the package mcp: pip install 'heldout[mcp]'.") from None
    make_server(home).run("stdio")
