# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Under strace: a successful fdatasync of the journal lies between writing a message and writing its PUBACK."""

import shutil
import struct

import pytest
import requests

from durability.tracing import acknowledged_too_early, strace
from support import mqtt, tokens
from support.program import Hub
from support.services import command, connection

pytestmark = pytest.mark.serial


@pytest.fixture
def traced(tmp_path):
    """Starts a hub under strace: traced(flags...)."""
    assert shutil.which("strace"), "strace is not installed: run scripts/bootstrap --tests"
    hubs = []

    def start(*flags):
        # The first start makes keys and certificates; only the second one is traced.
        data = tmp_path / "data"
        first = Hub(data, "--plain", *flags).start()
        first.stop()
        hub = Hub(data, "--plain", *flags, address=first.host, wrap=strace(tmp_path / "trace"))
        hubs.extend([hub, first])
        return hub.start(120), tmp_path / "trace"

    yield start
    for hub in hubs:
        hub.close()


def make_device_without_tls(hub, name: str):
    """A device by the plain HTTP listener, so that the trace shows the answer's bytes."""
    from support.devices import Device

    authorization = tokens.token(hub.host, hub.key("iothubowner"), policy="iothubowner")
    answer = requests.put(
        f"http://{hub.host}:{hub.port('http')}/devices/{name}?api-version=2021-04-12",
        json={"deviceId": name, "status": "enabled"}, headers={"Authorization": authorization}, timeout=60,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    keys = answer.json()["authentication"]["symmetricKey"]
    return Device(hub, name, keys["primaryKey"], keys["secondaryKey"])


def publish_marked(device, count: int, pipelined: int) -> dict[bytes, bytes]:
    """Publishes messages with a mark each; returns what acknowledges each mark."""
    marks = {}
    with device.sign_in(plain=True) as peer:
        for start in range(1, count + 1, pipelined):
            numbers = range(start, start + pipelined)
            packets = []
            for number in numbers:
                mark = b"mark-%05d-of-%s" % (number, device.id.encode())
                # The high packet id makes its PUBACK unlike any other bytes of the trace.
                marks[mark] = b"\x40\x02" + struct.pack(">H", 0xA000 + number)
                packets.append(mqtt.publish(device.topic, mark, packet_id=0xA000 + number))
            peer.send(*packets)
            for number in numbers:
                assert peer.receive() == b"\x40\x02" + struct.pack(">H", 0xA000 + number)
    return marks


@pytest.mark.parametrize("pipelined", [1, 10])
def test_a_successful_sync_precedes_each_puback(traced, pipelined):
    hub, trace = traced()
    device = make_device_without_tls(hub, "traced")
    marks = publish_marked(device, 50, pipelined)
    hub.stop()
    assert acknowledged_too_early(trace, marks) == []


def test_the_check_notices_when_the_sync_is_taken_out(traced):
    hub, trace = traced("--durability", "os")
    device = make_device_without_tls(hub, "unsynced")
    marks = publish_marked(device, 10, 1)
    hub.stop()
    found = acknowledged_too_early(trace, marks)
    assert len(found) == 10, found
    assert all("before a successful sync" in each for each in found)


def test_a_successful_sync_precedes_the_answer_to_a_registry_write(traced):
    hub, trace = traced()
    name = "a-device-that-must-be-kept"
    make_device_without_tls(hub, name)
    hub.stop()
    assert acknowledged_too_early(trace, {name.encode(): b"HTTP/1.1 200"}) == []


def test_a_successful_sync_precedes_the_answer_to_a_report(traced):
    hub, trace = traced()
    device = make_device_without_tls(hub, "reporting")
    marks = {}
    with device.sign_in(plain=True) as peer:
        peer.send(mqtt.subscribe(1, ("$iothub/twin/res/#", 0)))
        assert peer.receive()[:2] == b"\x90\x03"
        for start in range(0, 20, 4):
            numbers = range(start, start + 4)
            for number in numbers:
                mark = f"reported-mark-{number:03}"
                marks[mark.encode()] = f"$iothub/twin/res/204/?$rid=rid-{number:03}&".encode()
                topic = f"$iothub/twin/PATCH/properties/reported/?$rid=rid-{number:03}"
                peer.send(mqtt.publish(topic, f'{{"a{number}":"{mark}"}}'.encode(), qos=0))
            for number in numbers:
                assert f"/res/204/?$rid=rid-{number:03}&" in mqtt.taken(peer.receive())[0]
    hub.stop()
    assert acknowledged_too_early(trace, marks) == []


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_successful_sync_precedes_the_acceptance_of_a_command(traced, durability):
    hub, trace = traced("--durability", durability)
    device = make_device_without_tls(hub, "commanded")
    marks = {}
    sending = connection(hub, plain=True)
    sender = sending.create_sender("/messages/devicebound")
    for number in range(40):
        mark = b"command-mark-%03d" % number
        sender.send(command(device, mark, f"m-{number}"))
        # A disposition begins with the receiver's role and the number of the delivery; low ones resemble other bytes.
        if number >= 30:
            marks[mark] = b"\x41\x52" + bytes([number])
    sending.close()
    hub.stop()
    early = acknowledged_too_early(trace, marks)
    if durability == "fsync":
        assert early == []
    else:
        assert len(early) == 10, "the check sees what is missing"
        assert all("before a successful sync" in each for each in early)
