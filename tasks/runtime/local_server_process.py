"""The process of a command's own Prefect server.

python -m tasks.runtime.local_server_process DESCRIPTOR      of the socket that listens already
"""

import socket
import sys

import uvicorn
from prefect.server.api.server import create_app

from tasks.core.child import exit_with_parent

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Serves until the parent has ended."""
    exit_with_parent()
    app = create_app(ephemeral=True, final=True)
    config = uvicorn.Config(app, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
