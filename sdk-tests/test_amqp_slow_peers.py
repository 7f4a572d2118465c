# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Peers that the hub has no room for: readers that ask for everything and take nothing, and one connection too many."""

import contextlib
import pathlib
import socket
import struct

import pytest
from proton import Message, SSLDomain
from proton._exceptions import ConnectionException
from proton.utils import BlockingConnection, LinkDetached

from support import mqtt
from support.amqp import Gateway
from support.devices import make_device
from support.reading import eventually, read

SASL, AMQP = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
MIB = 1 << 20


def composite(code: int, *fields: bytes) -> bytes:
    body = b"".join(fields)
    return b"\x00\x53" + bytes([code]) + b"\xd0" + struct.pack(">II", len(body) + 4, len(fields)) + body


def frame(code: int, *fields: bytes, kind: int = 0) -> bytes:
    body = composite(code, *fields)
    return struct.pack(">IBBH", len(body) + 8, 2, kind, 0) + body


def uint(value: int) -> bytes:
    return b"\x70" + struct.pack(">I", value)


def text(value: str, code: int = 0xB1) -> bytes:
    data = value.encode()
    return bytes([code]) + struct.pack(">I", len(data)) + data


NULL, TRUE, FALSE = b"\x40", b"\x41", b"\x42"


def greedy_reader(hub, partition: str) -> socket.socket:
    """A connection that has given a million credits for a partition's events from the start, and reads no byte more."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    peer.settimeout(20)
    peer.connect((hub.host, hub.port("amqp")))
    peer.sendall(greedy_opening(hub, partition))
    while b"roost" not in peer.recv(4096, socket.MSG_PEEK):
        pass
    return peer


def greedy_opening(hub, partition: str) -> bytes:
    """What such a reader sends, from its first byte on."""
    secret = f"\0service\0{hub.key('service')}".encode()
    source = composite(0x28, text(f"{hub.event_hub}/ConsumerGroups/second/Partitions/{partition}"))
    target = composite(0x29, text("here"))
    return (
        SASL
        + frame(0x41, text("PLAIN", 0xB3), b"\xb0" + struct.pack(">I", len(secret)) + secret, kind=1)
        + AMQP
        + frame(0x10, text("greedy"), NULL, uint(65536), NULL, uint(3_600_000))
        + frame(0x11, NULL, uint(0), uint(0x7FFFFFFF), uint(100))
        + frame(0x12, text("r"), uint(0), TRUE, NULL, NULL, source, target)
        + frame(0x13, NULL, uint(0x7FFFFFFF), uint(0), uint(100), uint(0), uint(0), uint(1_000_000))
    )


def resident(hub) -> int:
    lines = pathlib.Path(f"/proc/{hub.info['processID']}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def publish(device, count: int, size: int):
    with device.sign_in() as peer:
        for start in range(0, count, 20):
            numbers = range(start, min(count, start + 20))
            for number in numbers:
                body = number.to_bytes(4, "big") * (size // 4)
                peer.send(mqtt.publish(device.topic, body, packet_id=number % 1000 + 1))
            for _ in numbers:
                assert peer.receive()[0] == mqtt.PUBACK << 4


def test_readers_that_take_nothing_cost_little_and_others_read_on(own_hub):
    hub = own_hub
    hub.flags = (*hub.flags, "--consumer-group", "second")
    hub.start()
    device = make_device(hub)
    # The log keeps its end in memory: fill that first.
    publish(device, 400, 100_000)
    before = resident(hub)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(contextlib.closing(greedy_reader(hub, device.partition)))
        publish(device, 400, 100_000)
        events = read(hub, 800, device=device.id, partition_id=device.partition)
        assert len(events) == 800
        grown = resident(hub) - before
    # Unbounded it would be five times 40 MB and more.
    assert grown < 90 * MIB, f"the server grew by {grown // MIB} MiB"


def test_a_client_that_takes_nothing_is_cut_off_and_others_read_on(own_hub):
    hub = own_hub
    hub.flags = (*hub.flags, "--set", "amqp.writeStallSeconds=5")
    hub.start()
    device = make_device(hub)
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(hub.ca_file)
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
    stalled = BlockingConnection(
        f"amqps://{hub.host}:{hub.port('amqps')}", timeout=20, ssl_domain=domain, allowed_mechs="PLAIN",
        user="service", password=hub.key("service"),
    )  # fmt: skip
    address = f"{hub.event_hub}/ConsumerGroups/$Default/Partitions/{device.partition}"
    receiver = stalled.create_receiver(address, credit=100_000)
    # This client reads its socket only while it waits for something.
    publish(device, 400, 100_000)
    eventually(lambda: "the peer has taken nothing" in hub.said(), timeout=60, every=0.5)
    assert 'reason="amqp stalled"' in hub.get("/metrics")[1]
    assert len(read(hub, 400, device=device.id, partition_id=device.partition)) == 400
    with pytest.raises((ConnectionException, LinkDetached)):
        [receiver.receive(timeout=20) for _ in range(400)]


def test_a_gateway_that_sends_as_fast_as_it_may_costs_little(own_hub):
    hub = own_hub.start()
    with Gateway(hub) as gateway:
        links = [gateway.identity(make_device(hub)).link("sender", "messages/events").link for _ in range(8)]
        message = Message(body=bytes(50_000), inferred=True)

        def flood():
            waiting = [link.send(message) for _ in range(250) for link in links]
            gateway.connection.wait(lambda: all(each.settled for each in waiting), timeout=60)
            assert all(each.remote_state == each.ACCEPTED for each in waiting)

        # The log keeps the end of each partition in memory: fill those first.
        flood()
        before = resident(hub)
        flood()
        grown = resident(hub) - before
    # It is 100 MB that were sent.
    assert grown < 60 * MIB, f"the server grew by {grown // MIB} MiB"


def test_a_full_hub_says_so_in_amqp(own_hub):
    own_hub.flags = (*own_hub.flags, "--connections-max", "1")
    own_hub.start()

    def connect() -> socket.socket:
        return socket.create_connection((own_hub.host, own_hub.port("amqp")), 20)

    with connect() as first:
        first.sendall(AMQP)
        assert first.recv(8) == AMQP
        for header in (AMQP, SASL):
            with connect() as late:
                late.sendall(header)
                said = b""
                with contextlib.suppress(ConnectionResetError):
                    while more := late.recv(4096):
                        said += more
            assert said.startswith(header)
            assert AMQP in said
            assert b"amqp:connection:forced" in said
            assert b"connect again later" in said
