"""The CPU time and the memory of a server and its PostgreSQL."""
import contextlib
import os
import pathlib
import socket
import struct
import sys

from figures import CONNECTIONS


def cpu_seconds(pid):
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def rss_mib(pid):
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
    return int(status.split('VmRSS:')[1].split()[0]) / 1024


def postgres_cpu_seconds(data):
    """Of all processes of the private PostgreSQL, those that have ended too."""
    postmaster = (data / 'postgres/postmaster.pid').read_text().split()[0]

    def times(pid, fields):
        try:
            values = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile, and its time is the postmaster's children's.
            return 0
        return sum(map(int, values[11:11 + fields])) / os.sysconf('SC_CLK_TCK')

    children = pathlib.Path(f'/proc/{postmaster}/task/{postmaster}/children').read_text().split()
    return times(postmaster, 4) + sum(times(child, 2) for child in children)


def health_checks():
    """What asks after the service's health, which needs no token, and what the answer has: of ttRPC and of gRPC."""

    def sized(content):
        return bytes([len(content)]) + content

    def frame(kind, flags, stream, content):
        return struct.pack('>I', len(content))[1:] + struct.pack('>BBI', kind, flags, stream) + content

    # A frame as proto/PROTOCOL.md has it, with service = 1 and method = 2; in the answer status = 1 in payload = 2.
    request = b'\x0a' + sized(b'grpc.health.v1.Health') + b'\x12' + sized(b'Check')
    ttrpc = struct.pack('>IIBB', len(request), 1, 1, 0) + request, b'\x12\x02\x08\x01'
    # HTTP/2's preface, SETTINGS, HEADERS that are literals (RFC 7541, section 6.2.2), DATA with an empty message.
    headers = {
        ':method': 'POST', ':scheme': 'http', ':path': '/grpc.health.v1.Health/Check', ':authority': 'parley',
        'content-type': 'application/grpc', 'te': 'trailers',
    }
    block = b''.join(b'\0' + sized(name.encode()) + sized(value.encode()) for name, value in headers.items())
    frames = frame(4, 0, 0, b'') + frame(1, 4, 1, block) + frame(0, 1, 1, bytes(5))
    return ttrpc, (b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frames, b'\0\0\0\0\x02\x08\x01')


def idle_rss_mib(server, address):
    """Of a server that has done nothing else, with connections that have made one call, every other one over gRPC."""
    checks = health_checks()
    with contextlib.ExitStack() as connections:
        for number in range(CONNECTIONS):
            connection = connections.enter_context(socket.create_connection(address, timeout=60))
            request, answer = checks[number % 2]
            connection.sendall(request)
            received = b''
            while answer not in received:
                part = connection.recv(4096)
                if not part:
                    sys.exit(f'deploy/bench: connection {number + 1} was closed')
                received += part
        return rss_mib(server.pid)
