"""Stands in for the service manager where it hands sockets over: binds them and becomes the program.

    inherit.py NAMES KIND… -- PROGRAM ARGUMENT…

NAMES is LISTEN_FDNAMES, "" for none.  A KIND is tcp:ADDRESS:PORT, tcp6:ADDRESS:PORT, unix:PATH, unix:@NAME (abstract),
seqpacket:PATH (these listen), udp:ADDRESS:PORT, pipe, or deaf (a TCP socket that does not listen).
"""
import os
import socket
import sys


def bound(kind):
    scheme, _, where = kind.partition(":")
    if scheme in ("tcp", "tcp6"):
        host, _, port = where.rpartition(":")
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if scheme == "tcp6" else socket.AF_INET)
    if scheme in ("unix", "seqpacket"):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if scheme == "unix" else socket.SOCK_SEQPACKET)
        listener.bind("\0" + where[1:] if where.startswith("@") else where)
        listener.listen(16)
        return listener
    if scheme == "udp":
        host, _, port = where.rpartition(":")
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((host, int(port)))
        return listener
    return os.fdopen(os.pipe()[0]) if scheme == "pipe" else socket.socket()


def main(arguments):
    split = arguments.index("--")
    names, kinds, command = arguments[0], arguments[1:split], arguments[split + 1:]
    sockets = [bound(kind) for kind in kinds]
    # Out of the way first: the descriptors wanted may be those of others.
    high = [os.dup2(listener.fileno(), 100 + index) for index, listener in enumerate(sockets)]
    for index, descriptor in enumerate(high):
        os.dup2(descriptor, 3 + index)
        os.close(descriptor)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))
    if names:
        os.environ["LISTEN_FDNAMES"] = names
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
