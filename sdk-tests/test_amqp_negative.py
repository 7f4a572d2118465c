# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Bytes that no AMQP client sends: the connection is refused or closed in the protocol's form, nothing else suffers."""

import socket
import ssl
import struct

import pytest

AMQP_HEADER, SASL_HEADER = b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"
# open with container-id "c" and nothing else.
OPEN = b"\x00\x00\x00\x15\x02\x00\x00\x00\x00\x53\x10\xc0\x08\x01\xa1\x05proof"
MECHANISMS = b"EXTERNAL MSSBCBS ANONYMOUS PLAIN".split()


def connect(hub) -> ssl.SSLSocket:
    raw = socket.create_connection((hub.host, hub.port("amqps")), 20)
    connection = ssl.create_default_context(cafile=hub.ca_file).wrap_socket(raw, server_hostname=hub.host)
    connection.settimeout(20)
    return connection


def exactly(connection, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, f"closed after {data.hex()}"
        data += more
    return data


def frame(connection) -> bytes:
    head = exactly(connection, 4)
    return head + exactly(connection, struct.unpack(">I", head)[0] - 4)


def to_the_end(connection) -> bytes:
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except (ConnectionResetError, ssl.SSLError):
        pass
    return data


def still_serves(hub):
    with connect(hub) as connection:
        connection.sendall(AMQP_HEADER)
        assert exactly(connection, 8) == AMQP_HEADER


def test_amqp_001_the_amqp_header_alone_opens_a_connection(hub):
    with connect(hub) as connection:
        connection.sendall(AMQP_HEADER + OPEN)
        assert exactly(connection, 8) == AMQP_HEADER
        assert frame(connection)[8:11] == b"\x00\x53\x10"


def test_amqp_002_the_mechanisms_are_an_array_of_four_symbols(hub):
    with connect(hub) as connection:
        connection.sendall(SASL_HEADER)
        assert exactly(connection, 8) == SASL_HEADER
        mechanisms = frame(connection)
    assert mechanisms[5] == 1
    assert mechanisms[8:11] == b"\x00\x53\x40"
    assert b"\xe0" in mechanisms or b"\xf0" in mechanisms
    places = [mechanisms.index(name) for name in MECHANISMS]
    assert places == sorted(places)


@pytest.mark.parametrize("header", [b"AMQP\x02\x01\x00\x00", b"AMQP\x00\x00\x09\x01", b"GET / HT", b"\x00" * 8])
def test_amqp_011_an_unknown_header_is_answered_with_the_known_one_and_a_close(hub, header):
    with connect(hub) as connection:
        connection.sendall(header)
        assert to_the_end(connection) == AMQP_HEADER


@pytest.mark.parametrize(
    "bad",
    [
        b"\x7f\xff\xff\xff\x02\x00\x00\x00",  # a frame of 2 GiB
        b"\x00\x00\x00\x00\x02\x00\x00\x00",  # a frame shorter than its head
        b"\x00\x00\x00\x08\x01\x00\x00\x00",  # a data offset below the head
        b"\x00\x00\x00\x08\xff\x00\x00\x00",  # a data offset beyond the frame
        b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x99\x45",  # an unknown performative
        b"\x00\x00\x00\x10\x02\x00\x00\x00\x00\x53\x11\xc0\xff\xff\x40\x40",  # a list that is longer than its frame
        b"\x00\x00\x00\x10\x02\x00\x00\x00\x00\x53\x11\xd0\xff\xff\xff\xff",  # a list that lies about its size
    ],
    ids=lambda bad: bad.hex(),
)
def test_amqp_024_a_malformed_frame_closes_with_an_error(hub, bad):
    with connect(hub) as connection:
        connection.sendall(AMQP_HEADER + OPEN)
        assert exactly(connection, 8) == AMQP_HEADER
        frame(connection)
        connection.sendall(bad)
        rest = to_the_end(connection)
    assert b"\x00\x53\x18" in rest, "a close performative"
    assert b"amqp:" in rest, "with a condition"
    still_serves(hub)


def test_a_frame_before_open_that_is_not_open_closes(hub):
    with connect(hub) as connection:
        connection.sendall(AMQP_HEADER + b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x11\x45")
        to_the_end(connection)
    still_serves(hub)


def test_random_bytes_after_the_header_end_the_connection_only(hub):
    import random

    source = random.Random(7)
    for _ in range(50):
        with connect(hub) as connection:
            try:
                connection.sendall(source.choice([AMQP_HEADER, SASL_HEADER, b""]) + source.randbytes(300) + b"\xff" * 8)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            to_the_end(connection)
    still_serves(hub)
