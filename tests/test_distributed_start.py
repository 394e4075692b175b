"""How processes find each other."""

import socket

import pytest
from processes import started, wait

from tvrl_jax.distributed import Place, complete
from tvrl_jax.errors import UserError

MEETING = """
import sys
from tvrl_jax import distributed, sharding
with distributed.started(distributed.Place(sys.argv[1], 2, int(sys.argv[2])), start=300,
                         timeout=300) as peers:
    sharding.connect(sharding.make_mesh())
    (connection,) = peers._connections.values()
    print(peers.agree(peers.index + 1, sum), "by way of", connection.getpeername()[0])
"""


@pytest.mark.timeout(2400)  # a busy machine is no failure
def test_processes_meet_in_ipv6(tmp_path):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            place = f"[::1]:{server.getsockname()[1]}"
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 ({error})")
    commands = [["-c", MEETING, place, str(index)] for index in range(2)]
    with started(commands, tmp_path) as processes:
        for ended in wait(processes, tmp_path):
            assert ended.code == 0 and "3 by way of ::1" in ended.said, ended.said


@pytest.mark.parametrize("coordinator", ["::1:29400", "fd00::2", "[::1]", "[::1]:x", "host:0"])
def test_an_address_that_is_none_is_refused(coordinator):
    with pytest.raises(UserError, match=r"--coordinator=.*\[ADDRESS\]:PORT"):
        complete(Place(coordinator, 2, 0), {})


@pytest.mark.parametrize("coordinator", ["[::1]:29400", "10.0.0.1:29400", "node-1.example:29400"])
def test_addresses_of_either_kind_are_taken(coordinator):
    assert complete(Place(coordinator, 2, 1), {}) == Place(coordinator, 2, 1)
