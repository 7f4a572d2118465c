# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Devices of a test: made with the service SDK, signed in by hand where a test needs that."""

import dataclasses
import itertools
import os

from azure.iot.hub import IoTHubRegistryManager

from support import mqtt, tokens

_numbers = itertools.count(1)
API_VERSION = "2021-04-12"


@dataclasses.dataclass(frozen=True)
class Device:
    """A device, or a module of one where `module` is set."""

    hub: object
    id: str
    key: str
    secondary_key: str
    module: str | None = None

    def resource_at(self, host: str) -> str:
        return f"{host}/devices/{self.id}" + (f"/modules/{self.module}" if self.module else "")

    @property
    def connection_string(self) -> str:
        module = f";ModuleId={self.module}" if self.module else ""
        return f"HostName={self.hub.host};DeviceId={self.id}{module};SharedAccessKey={self.key}"

    @property
    def resource(self) -> str:
        return self.resource_at(self.hub.host)

    @property
    def client_id(self) -> str:
        return f"{self.id}/{self.module}" if self.module else self.id

    @property
    def username(self) -> str:
        return f"{self.hub.host}/{self.client_id}/?api-version={API_VERSION}"

    @property
    def path(self) -> str:
        return f"devices/{self.id}" + (f"/modules/{self.module}" if self.module else "")

    @property
    def topic(self) -> str:
        return f"{self.path}/messages/events/"

    @property
    def partition(self) -> str:
        return str(partition(self.id))

    def token(self, **options) -> str:
        return tokens.token(self.resource, options.pop("key", self.key), **options)

    def connect_packet(self, **options) -> bytes:
        password = options.pop("password", None) or self.token()
        return mqtt.connect(self.client_id, options.pop("username", self.username), password, **options)

    def sign_in(self, *, plain: bool = False, **options) -> mqtt.Peer:
        """A raw connection that the hub has accepted."""
        peer = mqtt.Peer(self.hub, plain=plain)
        peer.send(self.connect_packet(**options))
        answer = peer.receive()
        assert answer[:2] == b"\x20\x02", answer.hex()
        assert answer[3] == 0, f"CONNACK {answer[3]}"
        return peer


def registry(hub, policy: str = "iothubowner", which: str = "primaryKey") -> IoTHubRegistryManager:
    # requests, which the service SDK uses, takes the authority from the environment.
    os.environ["REQUESTS_CA_BUNDLE"] = hub.ca_file
    return IoTHubRegistryManager.from_connection_string(hub.service(policy, which))


def make_device(hub, name: str = "device", status: str = "enabled") -> Device:
    """A new device with generated keys and an id that no other test uses."""
    device_id = f"{name}-{os.getpid()}-{next(_numbers)}"
    made = registry(hub).create_device_with_sas(device_id, "", "", status)
    keys = made.authentication.symmetric_key
    return Device(hub, device_id, keys.primary_key, keys.secondary_key)


def make_module(device: Device, name: str = "module") -> Device:
    """A new module of a device with generated keys."""
    made = registry(device.hub).create_module_with_sas(device.id, name, "", "", "")
    keys = made.authentication.symmetric_key
    return Device(device.hub, device.id, keys.primary_key, keys.secondary_key, name)


def partition(device_id: str, count: int = 4) -> int:
    """The partition of a device, written down from docs/wire/event-hubs.md#partition-of-a-device."""
    mask = 0xFFFFFFFF

    def rotate(value: int, by: int) -> int:
        return (value << by | value >> (32 - by)) & mask

    key = device_id.upper().encode("ascii")
    a = b = c = (0xDEADBEEF + len(key)) & mask
    rest = key
    while len(rest) > 12:
        x, y, z = (int.from_bytes(rest[i : i + 4], "little") for i in (0, 4, 8))
        a, b, c, rest = (a + x) & mask, (b + y) & mask, (c + z) & mask, rest[12:]
        a, c = (a - c & mask) ^ rotate(c, 4), (c + b) & mask
        b, a = (b - a & mask) ^ rotate(a, 6), (a + c) & mask
        c, b = (c - b & mask) ^ rotate(b, 8), (b + a) & mask
        a, c = (a - c & mask) ^ rotate(c, 16), (c + b) & mask
        b, a = (b - a & mask) ^ rotate(a, 19), (a + c) & mask
        c, b = (c - b & mask) ^ rotate(b, 4), (b + a) & mask
    if rest:
        rest = rest.ljust(12, b"\0")
        x, y, z = (int.from_bytes(rest[i : i + 4], "little") for i in (0, 4, 8))
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        c = (c ^ b) - rotate(b, 14) & mask
        a = (a ^ c) - rotate(c, 11) & mask
        b = (b ^ a) - rotate(a, 25) & mask
        c = (c ^ b) - rotate(b, 16) & mask
        a = (a ^ c) - rotate(c, 4) & mask
        b = (b ^ a) - rotate(a, 14) & mask
        c = (c ^ b) - rotate(b, 24) & mask
    low = (c ^ b) & 0xFFFF
    signed = low - 0x10000 if low >= 0x8000 else low
    logical = abs(signed) % 32767
    width, remainder = divmod(32767, count)
    large = (width + 1) * remainder
    return logical // (width + 1) if logical < large else remainder + (logical - large) // width
