# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Telemetry with Microsoft's device SDK, read back with every official reader and compared exactly."""

import asyncio
import datetime
import json
import uuid

import pytest
from azure.iot.device import IoTHubDeviceClient, Message
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.device.exceptions import ConnectionDroppedError, ConnectionFailedError, NoConnectionError

from support.clients import message
from support.reading import READERS, Reading, ends, read

SIGN_INS = ["connection string", "symmetric key", "SAS token"]


def make_client(shape, device, sign_in):
    trust = {"server_verification_cert": device.hub.ca_text}
    if sign_in == "connection string":
        return shape.create_from_connection_string(device.connection_string, **trust)
    if sign_in == "symmetric key":
        return shape.create_from_symmetric_key(device.key, device.hub.host, device.id, **trust)
    return shape.create_from_sastoken(device.token(), **trust)


# What a device may send that is odd: (name, message, what a reader must see besides the body).
ODD = [
    ("empty body", message(b""), {}),
    ("text", message("plain text"), {}),
    ("Unicode body", message("Grüße aus Überlingen, 温度 21 °C, 🌡"), {}),
    ("binary body", message(bytes(range(256)) * 4), {}),
    ("JSON body", message('{"t": 21.5, "n": null}', content_type="application/json", content_encoding="utf-8"),
        {"content_type": "application/json", "content_encoding": "utf-8"}),
    ("large body", message(b"x" * 200_000), {}),
    ("system properties", message(b"s", message_id="m-1", correlation_id="c/2=3&4", user_id="u ü"),
        {"message_id": "m-1", "correlation_id": "c/2=3&4", "user_id": "u ü".encode()}),
    ("properties", message(b"p", properties={"a": "b", "number": 7}), {"properties": {"a": "b", "number": "7"}}),
    ("reserved characters",
        message(b"r", properties={"a/b?c=d&e#f": "%25 + / ? # & = $", "sp ace": " both ends ", "$x": "+"}),
        {"properties": {"a/b?c=d&e#f": "%25 + / ? # & = $", "sp ace": " both ends ", "$x": "+"}}),
    ("Unicode properties", message(b"u", properties={"größe": "温度 🌡"}), {"properties": {"größe": "温度 🌡"}}),
    ("empty value", message(b"e", properties={"empty": ""}), {"properties": {"empty": ""}}),
    ("100 properties", message(b"100", properties={f"name-{n:03}": f"value {n}" for n in range(100)}),
        {"properties": {f"name-{n:03}": f"value {n}" for n in range(100)}}),
]  # fmt: skip


def body_of(sent: Message) -> bytes:
    return sent.data.encode() if isinstance(sent.data, str) else bytes(sent.data)


def check(event, device, sent, expected, sent_after):
    assert event.body == body_of(sent)
    assert event.properties == expected.get("properties", {})
    for name in ("message_id", "correlation_id", "user_id", "content_type", "content_encoding"):
        assert getattr(event, name) == expected.get(name), name
    notes = dict(event.annotations)
    assert notes.pop("x-opt-sequence-number") == event.sequence_number
    assert notes.pop("x-opt-offset") == event.offset
    assert event.offset.isdigit()
    enqueued = notes.pop("x-opt-enqueued-time")
    accepted = notes.pop("iothub-enqueuedtime")
    assert sent_after * 1000 - 1000 <= accepted <= enqueued + 1000
    assert notes.pop("iothub-connection-device-id") == device.id
    assert json.loads(notes.pop("iothub-connection-auth-method")) == {
        "scope": "device", "type": "sas", "issuer": "iothub", "acceptingIpFilterRule": None,
    }  # fmt: skip
    assert notes.pop("iothub-connection-auth-generation-id")
    assert notes.pop("iothub-message-source") == "Telemetry"
    assert notes == {}


@pytest.mark.parametrize("kind", READERS)
def test_event_hubs_001_event_hubs_039_what_a_device_sends_is_what_each_reader_sees(device, kind):
    started = datetime.datetime.now().timestamp()
    sender = make_client(IoTHubDeviceClient, device, "connection string")
    sender.connect()
    for _, sent, _ in ODD:
        sender.send_message(sent)
    sender.shutdown()
    events = read(device.hub, len(ODD), device=device.id, kind=kind, partition_id=device.partition)
    assert len(events) == len(ODD)
    for event, (name, sent, expected) in zip(events, ODD, strict=True):
        try:
            check(event, device, sent, expected, started)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers)), "order per device"
    offsets = [int(event.offset) for event in events]
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_the_synchronous_device_client_signs_in_and_sends(device, sign_in):
    sender = make_client(IoTHubDeviceClient, device, sign_in)
    sender.connect()
    assert sender.connected
    sender.send_message(f"by {sign_in}")
    sender.shutdown()
    (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.body == f"by {sign_in}".encode()


@pytest.mark.parametrize("sign_in", SIGN_INS)
def test_the_asynchronous_device_client_signs_in_and_sends(device, sign_in):
    async def send():
        sender = make_client(AsyncDeviceClient, device, sign_in)
        await sender.connect()
        await asyncio.gather(*(sender.send_message(f"{sign_in} {n}") for n in range(50)))
        await sender.shutdown()

    asyncio.run(send())
    events = read(device.hub, 50, device=device.id, partition_id=device.partition)
    assert {event.body.decode() for event in events} == {f"{sign_in} {n}" for n in range(50)}


def test_mqtt_013_the_secondary_key_signs_in(device):
    string = device.connection_string.replace(device.key, device.secondary_key)
    sender = IoTHubDeviceClient.create_from_connection_string(string, server_verification_cert=device.hub.ca_text)
    sender.connect()
    sender.send_message("second")
    sender.shutdown()
    assert read(device.hub, device=device.id, partition_id=device.partition)[0].body == b"second"


def test_mqtt_009_a_wrong_key_is_refused_so_that_the_sdk_gives_up(device, make):
    from azure.iot.device.exceptions import CredentialError

    wrong = device.connection_string.replace(device.key, make().key)
    sender = IoTHubDeviceClient.create_from_connection_string(wrong, server_verification_cert=device.hub.ca_text)
    with pytest.raises(CredentialError):
        sender.connect()
    sender.shutdown()


def test_security_047_a_client_that_does_not_trust_the_authority_does_not_connect(device):
    from azure.iot.device.exceptions import ClientError

    sender = IoTHubDeviceClient.create_from_connection_string(device.connection_string)
    with pytest.raises(ClientError, match="TLS"):
        sender.connect()
    sender.shutdown()


def test_mqtt_034_the_device_client_sends_over_a_websocket(device):
    sender = IoTHubDeviceClient.create_from_connection_string(
        device.connection_string, server_verification_cert=device.hub.ca_text, websockets=True
    )
    sender.connect()
    sender.send_message(message("through a tunnel" * 5000, properties={"a": "b"}))
    sender.shutdown()
    (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.body == b"through a tunnel" * 5000
    assert event.properties == {"a": "b"}


def test_event_hubs_047_all_events_of_a_device_are_in_the_partition_of_its_id(hub, make):
    devices = [make(f"placed-{n}") for n in range(8)]
    start = ends(hub)
    for device in devices:
        sender = make_client(IoTHubDeviceClient, device, "connection string")
        sender.connect()
        for n in range(3):
            sender.send_message(str(n))
        sender.shutdown()
    wanted = {device.id for device in devices}
    with Reading(
        hub, enough=lambda all_: sum(event.device in wanted for event in all_) >= 24, starting_position=start
    ) as reading:
        events = [event for event in reading.wait(60) if event.device in wanted]
    assert {device.partition for device in devices} == {event.partition for event in events}
    for device in devices:
        own = [event for event in events if event.device == device.id]
        assert {event.partition for event in own} == {device.partition}
        assert [event.body for event in own] == [b"0", b"1", b"2"]


def test_a_lost_connection_is_made_again_by_the_sdk_and_nothing_acknowledged_is_lost(own_hub):
    from support.devices import make_device

    hub = own_hub.start()
    device = make_device(hub)
    sender = make_client(IoTHubDeviceClient, device, "connection string")
    sender.connect()
    before = [str(uuid.uuid4()) for _ in range(20)]
    for body in before:
        sender.send_message(body)
    hub.kill()
    hub.start()
    after = [str(uuid.uuid4()) for _ in range(20)]
    for body in after:
        sender.send_message(body)
    sender.shutdown()
    events = read(hub, lambda all_: {e.body.decode() for e in all_} >= {*before, *after}, partition_id=device.partition)
    assert [e.body.decode() for e in events[:20]] == before


def test_mqtt_094_no_restart_of_the_server_makes_an_sdk_give_up_or_lose_a_message(own_hub):
    from support.devices import make_device

    hub = own_hub.start()
    device = make_device(hub)

    async def send_one(sender, body):
        # In the instant of a cut the SDK says that it has no connection, or that it could not make one; an application
        # tries again.
        while True:
            try:
                return await sender.send_message(body)
            except (NoConnectionError, ConnectionFailedError, ConnectionDroppedError):
                await asyncio.sleep(0.05)

    async def send():
        sender = make_client(AsyncDeviceClient, device, "connection string")
        await sender.connect()
        sends = []
        for n in range(200):
            sends.append(asyncio.ensure_future(send_one(sender, str(n))))
            if n == 100:
                await asyncio.to_thread(hub.stop)
                await asyncio.to_thread(hub.start)
            await asyncio.sleep(0.002)
        await asyncio.wait_for(asyncio.gather(*sends), 60)
        await sender.shutdown()

    asyncio.run(send())
    wanted = {str(n) for n in range(200)}
    read(hub, lambda all_: {e.body.decode() for e in all_} >= wanted, partition_id=device.partition)
