# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Faults that a device asks for, and how Microsoft's device SDK recovers from them."""

import time

import pytest
from azure.iot.device import IoTHubDeviceClient, Message

from support import mqtt
from support.devices import make_device
from support.reading import eventually, read

PREFIX = "AzIoTHub_FaultOperation"


def topic(device, kind, delay=0, duration=0) -> str:
    fields = {"Type": kind, "CloseReason": "Boom", "DelayInSecs": delay, "DurationInSecs": duration}
    return device.topic + "&".join(f"{PREFIX}{name}={value}" for name, value in fields.items())


def ask(device, kind, **times) -> mqtt.Peer:
    """Signs in and asks for a fault; the message is acknowledged."""
    peer = device.sign_in(clean=True)
    peer.send(mqtt.publish(topic(device, kind, **times), b"fault"))
    assert peer.receive() == b"\x40\x02\x00\x01"
    return peer


def connack(device):
    """The return code of a new CONNECT, or None where the connection is closed without one."""
    with mqtt.Peer(device.hub) as peer:
        peer.send(device.connect_packet(clean=True))
        try:
            return peer.receive()[3]
        except mqtt.Closed:
            return None


@pytest.mark.parametrize("kind", ["KillTcp", "ShutDownMqtt", "InvokeThrottling", "InvokeAuthError"])
def test_the_connection_is_cut_after_the_acknowledgement(faulty, kind):
    assert ask(faulty, kind).is_closed(5)
    assert connack(faulty) == 0, "a fault without a duration is over at once"
    (event,) = read(faulty.hub, device=faulty.id, partition_id=faulty.partition)
    assert event.body == b"fault"


@pytest.mark.parametrize(
    ("kind", "code"), [("KillTcp", None), ("ShutDownMqtt", 3), ("InvokeThrottling", 3), ("InvokeAuthError", 5)]
)
def test_a_fault_lasts_and_concerns_nobody_else(bench, faulty, kind, code):
    other = make_device(bench, "other")
    bystander = other.sign_in(clean=True)
    started = time.monotonic()
    assert ask(faulty, kind, duration=3).is_closed(5)
    assert connack(faulty) == code
    assert connack(other) == 0
    assert bystander.is_closed(5), "taken over by the other connection, and by nothing else"
    eventually(lambda: connack(faulty) == 0)
    assert time.monotonic() - started >= 3


def test_a_fault_waits_for_its_delay(faulty):
    started = time.monotonic()
    peer = ask(faulty, "KillTcp", delay=1)
    peer.send(mqtt.publish(faulty.topic, b"before", packet_id=2))
    assert peer.receive() == b"\x40\x02\x00\x02"
    assert peer.is_closed(5)
    assert 0.9 <= time.monotonic() - started < 4


def test_a_used_up_quota_closes_at_the_first_message(faulty):
    peer = ask(faulty, "InvokeMaxMessageQuota", duration=3)
    peer.send(b"\xc0\x00")
    assert peer.receive() == b"\xd0\x00"
    peer.send(mqtt.publish(faulty.topic, b"lost", packet_id=2))
    assert peer.is_closed(5)
    with faulty.sign_in(clean=True) as again:
        again.send(mqtt.publish(faulty.topic, b"lost", packet_id=2))
        assert again.is_closed(5)

    def is_over():
        with faulty.sign_in(clean=True) as peer:
            peer.send(mqtt.publish(faulty.topic, b"through", packet_id=3))
            try:
                return peer.receive() == b"\x40\x02\x00\x03"
            except mqtt.Closed:
                return False

    eventually(is_over, every=0.3)
    events = read(faulty.hub, 2, device=faulty.id, partition_id=faulty.partition)
    assert [event.body for event in events] == [b"fault", b"through"]


@pytest.mark.parametrize("kind", ["KillAmqpSession", "Nonsense", ""])
def test_other_types_do_nothing(faulty, kind):
    peer = ask(faulty, kind, duration=5)
    peer.send(b"\xc0\x00")
    assert peer.receive() == b"\xd0\x00"


def test_without_the_setting_it_is_a_message_like_any_other(device):
    peer = ask(device, "KillTcp", duration=5)
    peer.send(b"\xc0\x00")
    assert peer.receive() == b"\xd0\x00"
    (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.properties[PREFIX + "Type"] == "KillTcp"


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize("kind", ["KillTcp", "ShutDownMqtt", "InvokeThrottling"])
def test_the_device_sdk_recovers(faulty, kind, websockets):
    client = IoTHubDeviceClient.create_from_connection_string(
        faulty.connection_string, server_verification_cert=faulty.hub.ca_text, websockets=websockets,
        connection_retry_interval=1,
    )  # fmt: skip
    states = []
    client.on_connection_state_change = lambda: states.append(client.connected)
    client.connect()
    message = Message("fault")
    message.custom_properties = {f"{PREFIX}Type": kind, f"{PREFIX}DelayInSecs": "0", f"{PREFIX}DurationInSecs": "2"}
    client.send_message(message)
    # Lost, and there again without anybody asking for it.
    eventually(lambda: len(states) >= 3 and client.connected)
    client.send_message("after the fault")
    client.shutdown()
    assert states[:2] == [True, False]
    events = read(faulty.hub, 2, device=faulty.id, partition_id=faulty.partition)
    assert [event.body for event in events] == [b"fault", b"after the fault"]
