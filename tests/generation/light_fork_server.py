"""The fork server without the import of vLLM, for engines that need none."""

import socket
import sys

from tasks.generation import fork_server

fork_server._import = lambda: None
fork_server.main(socket.socket(fileno=int(sys.argv[1])))
