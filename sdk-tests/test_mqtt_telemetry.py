# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""What a raw MQTT peer may publish and subscribe, and what closes its connection."""

import struct

import pytest

from support import mqtt
from support.reading import Event, read


def publish_and_read(device, topic: str, body: bytes = b"body", **options) -> Event:
    """Publishes one message and reads it back; checks its PUBACK unless it is QoS 0."""
    with device.sign_in() as peer:
        peer.send(mqtt.publish(topic, body, **options))
        if options.get("qos", 1):
            assert peer.receive() == b"\x40\x02" + struct.pack(">H", options.get("packet_id", 1))
        else:
            assert peer.send(mqtt.PINGREQ).receive() == b"\xd0\x00"
        return read(device.hub, device=device.id, partition_id=device.partition)[-1]


@pytest.mark.parametrize("tail", ["", "/", "/a=b", "/a=b/", "//"])
def test_mqtt_047_each_form_of_the_telemetry_topic_is_stored(device, tail):
    event = publish_and_read(device, f"devices/{device.id}/messages/events{tail}", packet_id=513)
    assert event.body == b"body"
    assert event.properties == ({"a": "b"} if "a=b" in tail else {})


def test_mqtt_048_qos_0_is_stored_and_not_acknowledged(device):
    assert publish_and_read(device, device.topic, b"q0", qos=0).body == b"q0"


@pytest.mark.parametrize("name", ["%24.ctime", "iothub-creation-time-utc"])
def test_messages_014_the_senders_creation_time_survives(device, name):
    event = publish_and_read(device, f"{device.topic}{name}=2024-03-01T10%3A00%3A00.0000000Z&a=b")
    assert event.properties == {"iothub-creation-time-utc": "2024-03-01T10:00:00.0000000Z", "a": "b"}


@pytest.mark.parametrize("mark", ["%24", "$"])
def test_mqtt_049_mqtt_050_system_properties_encoded_or_literal(device, mark):
    topic = (
        device.topic + f"{mark}.mid=m&{mark}.cid=c%26d&{mark}.uid=u&{mark}.ct=text%2Fplain&{mark}.ce=utf-8&k%20ey=v%2Bw"
    )
    event = publish_and_read(device, topic)
    assert (event.message_id, event.correlation_id, event.user_id) == ("m", "c&d", b"u")
    assert (event.content_type, event.content_encoding) == ("text/plain", "utf-8")
    assert event.properties == {"k ey": "v+w"}


def test_mqtt_051_one_slash_at_the_end_of_the_bag_is_not_part_of_it(device):
    assert publish_and_read(device, device.topic + "a=b/").properties == {"a": "b"}
    assert publish_and_read(device, device.topic + "path=x/y").properties == {"path": "x/y"}


def test_mqtt_052_a_property_without_value_an_empty_one_and_a_plus_sign(device):
    event = publish_and_read(device, device.topic + "flag&empty=&x=1+2&&last=1=2")
    assert event.properties == {"flag": event.properties["flag"], "empty": "", "x": "1+2", "last": "1=2"}
    assert event.properties["flag"] in ("", None)


def test_mqtt_053_retain_becomes_a_property_and_is_not_kept(device):
    assert publish_and_read(device, device.topic + "a=b", retain=True).properties == {"a": "b", "mqtt-retain": "true"}


def test_mqtt_054_a_repeated_message_is_acknowledged_and_stored_again(device):
    with device.sign_in() as peer:
        for duplicate in (False, True):
            peer.send(mqtt.publish(device.topic, b"again", packet_id=5, duplicate=duplicate))
            assert peer.receive() == b"\x40\x02\x00\x05"
    events = read(device.hub, 2, device=device.id, partition_id=device.partition)
    assert [(event.body, event.properties) for event in events] == [(b"again", {})] * 2


def test_mqtt_055_exactly_256_kib_fit_and_one_byte_more_closes(device):
    bag = "name=value&%24.mid=m"
    counted = len("name") + len("value") + len("m")
    limit = 262_144
    event = publish_and_read(device, device.topic + bag, b"z" * (limit - counted))
    assert len(event.body) == limit - counted
    with device.sign_in() as peer:
        peer.send(mqtt.publish(device.topic + bag, b"z" * (limit - counted + 1)))
        assert peer.is_closed()
    after = publish_and_read(device, device.topic, b"after")
    assert after.body in (b"z" * (limit - counted), b"after")
    bodies = [len(event.body) for event in read(device.hub, 2, device=device.id, partition_id=device.partition)]
    assert bodies == [limit - counted, 5]


@pytest.mark.parametrize("size", [400_000, 10_000_000, 268_435_455])
def test_a_packet_announced_over_the_limit_closes_before_it_is_read(device, size):
    digits, rest = bytearray(), size
    while True:
        rest, digit = divmod(rest, 128)
        digits.append(digit | (0x80 if rest else 0))
        if not rest:
            break
    with device.sign_in() as peer:
        peer.send(b"\x32" + bytes(digits) + struct.pack(">H", len(device.topic)) + device.topic.encode() + b"\0\1x")
        assert peer.is_closed()


def test_mqtt_056_qos_2_closes_without_pubrec(device):
    with device.sign_in() as peer:
        assert peer.send(mqtt.publish(device.topic, b"exactly once", qos=2)).is_closed()


@pytest.mark.parametrize(
    "topic", ["foo/bar", "devices/{other}/messages/events/", "devices/{id}/modules/m/messages/events/"]
)
def test_mqtt_057_security_062_a_topic_that_is_not_the_devices_own_closes_and_stores_nothing(device, make, topic):
    other = make()
    with device.sign_in() as peer:
        peer.send(mqtt.publish(topic.format(other=other.id, id=device.id), b"stray"))
        assert peer.is_closed()
    with other.sign_in() as peer:
        peer.send(mqtt.publish(other.topic, b"own"))
        peer.receive()
    assert [e.body for e in read(device.hub, device=other.id, partition_id=other.partition)] == [b"own"]


def test_mqtt_059_the_model_id_of_the_connection_and_the_component_of_the_message(device):
    username = device.username + "&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1"
    with device.sign_in(username=username) as peer:
        peer.send(mqtt.publish(device.topic + "%24.sub=c1", b"pnp"))
        peer.receive()
    (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.annotations["dt-dataschema"] == "dtmi:com:example:Thermostat;1"
    assert event.annotations["dt-subject"] == "c1"


def test_mqtt_060_a_thousand_pipelined_messages_are_acknowledged_and_stored_in_order(device):
    numbers = range(1, 1001)
    with device.sign_in() as peer:
        peer.send(*(mqtt.publish(device.topic, b"%d" % n, packet_id=n) for n in numbers))
        assert [peer.receive() for _ in numbers] == [b"\x40\x02" + struct.pack(">H", n) for n in numbers]
    events = read(device.hub, 1000, device=device.id, partition_id=device.partition)
    assert [int(event.body) for event in events] == list(numbers)


def test_event_hubs_041_security_063_a_device_cannot_speak_for_the_hub(device):
    forged = {
        "iothub-connection-device-id": "someone-else",
        "iothub-connection-module-id": "m",
        "iothub-connection-auth-method": "trusted",
        "iothub-connection-auth-generation-id": "0",
        "iothub-message-source": "deviceLifecycleEvents",
        "iothub-enqueuedtime": "2000-01-01T00:00:00Z",
        "x-opt-sequence-number": "7",
    }
    bag = "&".join(f"{name}={value}" for name, value in forged.items()) + "&%24.cdid=someone-else&%24.cmid=m"
    event = publish_and_read(device, device.topic + bag)
    assert event.annotations["iothub-connection-device-id"] == device.id
    assert event.annotations["iothub-message-source"] == "Telemetry"
    assert "iothub-connection-module-id" not in event.annotations
    assert event.annotations["iothub-connection-auth-method"].startswith("{")
    assert isinstance(event.annotations["iothub-enqueuedtime"], int)
    assert "someone-else" not in event.properties.values()


@pytest.mark.parametrize(
    "packet",
    [
        mqtt.packet(0x32, struct.pack(">H", 60_000) + b"short"),
        mqtt.packet(0x32, b"\0\1a\0\0"),
        mqtt.publish("devices/+/messages/events/", b"wildcard"),
        mqtt.publish(b"devices/\xff\xfe/messages/events/", b"not UTF-8"),
        mqtt.packet(0x36, b"\0\1a\0\1"),
        mqtt.packet(0x80, b"\0\1\0\1a\0"),
        mqtt.packet(0x82, b"\0\1"),
        mqtt.packet(0x82, b"\0\1\0\1a\7"),
        b"\x32\xff\xff\xff\xff\x7f",
        b"\x00\x00", b"\xf0\x00", b"\x20\x02\x00\x00", b"\xd0\x00", b"\xc1\x00",
    ],
    ids=lambda packet: packet[:8].hex(),
)  # fmt: skip
def test_a_malformed_packet_closes_the_connection_and_nothing_else(device, make, packet):
    bystander = make("bystander").sign_in()
    with device.sign_in() as peer, bystander:
        peer.send(packet.replace(b"{id}", device.id.encode()))
        assert peer.is_closed()
        assert bystander.send(mqtt.PINGREQ).receive() == b"\xd0\x00"


FILTERS = [
    "devices/{id}/messages/devicebound/#", "$iothub/methods/POST/#", "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
]  # fmt: skip


@pytest.mark.parametrize(("asked", "granted"), [(0, 0), (1, 1), (2, 1)])
def test_mqtt_037_mqtt_038_each_filter_is_granted_at_most_qos_1(device, asked, granted):
    with device.sign_in() as peer:
        for number, name in enumerate([*FILTERS, "#", "devices/{id}/#", "devices/{id}/messages/#"], 1):
            peer.send(mqtt.subscribe(number, (name.format(id=device.id), asked)))
            assert peer.receive() == b"\x90\x03" + struct.pack(">HB", number, granted)


def test_mqtt_039_five_filters_in_one_packet_are_answered_together_in_order(device):
    names = [*FILTERS, "$iothub/methods/POST/reboot/#"]
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(3, *((name.format(id=device.id), n % 2) for n, name in enumerate(names))))
        assert peer.receive() == b"\x90\x07\x00\x03\x00\x01\x00\x01\x00"


def test_mqtt_041_a_filter_of_another_device_closes_without_a_failure_code(device, make):
    with device.sign_in() as peer:
        assert peer.send(mqtt.subscribe(1, (f"devices/{make().id}/messages/devicebound/#", 1))).is_closed()


def test_mqtt_043_unsubscribing_is_always_answered(device):
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(1, (FILTERS[0].format(id=device.id), 1)))
        assert peer.receive()[0] == 0x90
        for number, name in ((2, FILTERS[0].format(id=device.id)), (3, "never/held")):
            assert peer.send(mqtt.unsubscribe(number, name)).receive() == b"\xb0\x02" + struct.pack(">H", number)


def test_mqtt_069_an_acknowledgement_of_nothing_is_ignored(device):
    with device.sign_in() as peer:
        peer.send(b"\x40\x02\x00\x63", mqtt.PINGREQ)
        assert peer.receive() == b"\xd0\x00"
