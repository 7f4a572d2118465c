# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""A raw MQTT 3.1.1 peer: sends any bytes and shows the packets that come back (docs/wire/mqtt.md)."""

import socket
import ssl
import struct

CONNACK, PUBACK, SUBACK, UNSUBACK, PINGRESP = 2, 4, 9, 11, 13


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def packet(first_byte: int, body: bytes) -> bytes:
    """A packet: its first byte, the remaining length, the rest."""
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first_byte]) + bytes(digits) + body


def connect(
    client_id: str,
    username: str | None,
    password: str | None,
    *,
    clean: bool = False,
    keep_alive: int = 60,
    will: tuple[str, bytes] | None = None,
    level: int = 4,
) -> bytes:
    flags = 0x02 if clean else 0
    payload = text(client_id)
    if will:
        flags |= 0x0C
        payload += text(will[0]) + struct.pack(">H", len(will[1])) + will[1]
    if username is not None:
        flags |= 0x80
        payload += text(username)
    if password is not None:
        flags |= 0x40
        payload += text(password)
    name = "MQTT" if level >= 4 else "MQIsdp"
    return packet(0x10, text(name) + bytes([level, flags]) + struct.pack(">H", keep_alive) + payload)


def publish(
    topic: str | bytes,
    body: bytes = b"",
    *,
    packet_id: int | None = 1,
    qos: int = 1,
    retain: bool = False,
    duplicate: bool = False,
) -> bytes:
    name = topic.encode() if isinstance(topic, str) else topic
    head = struct.pack(">H", len(name)) + name
    if qos:
        head += struct.pack(">H", packet_id)
    return packet(0x30 | (8 if duplicate else 0) | qos << 1 | int(retain), head + body)


def subscribe(packet_id: int, *filters: tuple[str, int]) -> bytes:
    return packet(0x82, struct.pack(">H", packet_id) + b"".join(text(name) + bytes([qos]) for name, qos in filters))


def unsubscribe(packet_id: int, *filters: str) -> bytes:
    return packet(0xA2, struct.pack(">H", packet_id) + b"".join(text(name) for name in filters))


def _after_length(publish: bytes) -> int:
    place = 1
    while publish[place] & 0x80:
        place += 1
    return place + 1


def taken(publish: bytes) -> tuple[str, bytes]:
    """Topic and body of a PUBLISH from the server."""
    assert publish[0] & 0xF0 == 0x30, publish.hex()
    place = _after_length(publish)
    length = int.from_bytes(publish[place : place + 2], "big")
    rest = publish[place + 2 + length :]
    return publish[place + 2 : place + 2 + length].decode(), rest[2:] if publish[0] & 0x06 else rest


def packet_id(publish: bytes) -> bytes:
    """The two bytes that acknowledge a PUBLISH with QoS 1."""
    place = _after_length(publish)
    place += 2 + int.from_bytes(publish[place : place + 2], "big")
    return publish[place : place + 2]


PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


class Closed(Exception):
    """The server closed the connection."""


class Peer:
    """One connection, with TLS unless told otherwise."""

    def __init__(
        self,
        hub,
        *,
        plain: bool = False,
        timeout: float = 20,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ):
        self.timeout = timeout
        raw = socket.create_connection((hub.host, hub.port("mqtt" if plain else "mqtts")), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if plain:
            self.socket = raw
        else:
            context = context or ssl.create_default_context(cafile=hub.ca_file)
            self.socket = context.wrap_socket(raw, server_hostname=hub.host, session=session)
        self.buffer = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Cuts the connection without a word."""
        self.socket.close()

    def send(self, *packets: bytes) -> "Peer":
        self.socket.sendall(b"".join(packets))
        return self

    def receive(self, timeout: float | None = None) -> bytes:
        """The next packet, whole; raises Closed at the end of the stream and TimeoutError after the time-out."""
        self.socket.settimeout(self.timeout if timeout is None else timeout)
        while True:
            whole = self._take()
            if whole is not None:
                return whole
            try:
                data = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                raise Closed from error
            if not data:
                raise Closed
            self.buffer += data

    def _take(self) -> bytes | None:
        length = 0
        for place in range(1, min(5, len(self.buffer))):
            length |= (self.buffer[place] & 0x7F) << 7 * (place - 1)
            if not self.buffer[place] & 0x80:
                end = place + 1 + length
                if len(self.buffer) < end:
                    return None
                whole, self.buffer = self.buffer[:end], self.buffer[end:]
                return whole
        return None

    def is_closed(self, timeout: float | None = None) -> bool:
        """Whether the server closes the connection within the time-out without sending a packet."""
        try:
            unexpected = self.receive(timeout)
        except Closed:
            return True
        except TimeoutError:
            return False
        raise AssertionError(f"the server sent {unexpected.hex()} where it should close")
