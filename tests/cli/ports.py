"""Ports that stay free until their server comes. `python3 ports.py COUNT` prints so many and holds them for ten
minutes, or until it is ended; hold() does so within a program.

They are none of those that the kernel deals out to whoever asks for any. What keeps each from others who choose as we
do is a socket that does not listen: a server may share its port (SO_REUSEADDR), and who connects before is refused. The
same number is free for datagrams."""

import random
import socket
import sys
import time

held = []


def dealt_out():
    """The first port of those; 1024 if that is not told."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
            return int(f.read().split()[0])
    except (OSError, ValueError):
        return 1024


def take(port):
    """That one, or with 0 any; 0: somebody has it."""
    s, datagrams = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.bind(("127.0.0.1", port))
        datagrams.bind(s.getsockname())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.append(s)
        return s.getsockname()[1]
    except OSError:
        s.close()
        return 0
    finally:
        datagrams.close()


def hold(count):
    first = dealt_out()
    some = list(range(max(2048, first - 8192), first))
    random.shuffle(some)
    found = []
    for port in some + [0] * (10 * count):
        if len(found) < count:
            found += [p for p in [take(port)] if p]
    if len(found) < count:
        raise RuntimeError("no ports are free")
    return found


if __name__ == "__main__":
    print(*hold(int(sys.argv[1])), flush=True)
    time.sleep(600)
