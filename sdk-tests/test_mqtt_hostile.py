# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""What a hostile or broken device may try over MQTT: the answer of docs/wire/mqtt.md, never another device's data."""

import json
import urllib.parse

import pytest

from support import mqtt, tokens
from support.devices import Device, make_module
from support.reading import eventually, read
from support.services import call
from support.together import start
from test_paho import Connection

DESIRED = "$iothub/twin/PATCH/properties/desired/#"
RESULTS = "$iothub/twin/res/#"
METHODS = "$iothub/methods/POST/#"
REPORT = "$iothub/twin/PATCH/properties/reported/?$rid="


def twin_peer(device, **options) -> mqtt.Peer:
    """A raw connection that is told the results of twin requests."""
    peer = device.sign_in(**options)
    peer.send(mqtt.subscribe(1, (RESULTS, 0)))
    assert peer.receive() == b"\x90\x03\x00\x01\x00"
    return peer


def request(peer, topic: str, body: bytes = b"") -> tuple[str, bytes]:
    """A twin request with QoS 0 and its result."""
    return mqtt.taken(peer.send(mqtt.publish(topic, body, qos=0)).receive())


def is_alive(peer) -> bool:
    return peer.send(mqtt.PINGREQ).receive() == b"\xd0\x00"


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


# Topics and filters of others


@pytest.mark.parametrize(
    "topic",
    [
        "devices/{other}/messages/events/",
        "devices/{other}/modules/m/messages/events/",
        "devices/{id}/../{other}/messages/events/",
        "devices/{other}%2fmessages/events/",
        "devices/{id}/messages/devicebound/",
        "devices/{id}/messages/devicebound/x=y",
        "$iothub/methods/POST/m/?$rid=1",
        "$iothub/twin/res/200/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$rid=1",
        "$iothub/twin/PATCH/properties/tags/?$rid=1",
        "$iothub/twin/PUT/?$rid=1",
        "$iothub/unknown",
        "$SYS/broker",
        "/",
        "devices",
        "DEVICES/{id}/messages/events/",
        "devices/{ID}/messages/events/",
        "$iothub/streams/POST/x/?$rid=1",
    ],
)
def test_a_topic_that_is_not_ones_own_to_publish_ends_the_connection_and_changes_nothing(
    hub, service, device, make, topic
):
    other = make()
    with device.sign_in() as peer:
        name = topic.format(id=device.id, ID=device.id.upper(), other=other.id)
        assert peer.send(mqtt.publish(name, b'{"stolen":1}')).is_closed()
    for each in (device, other):
        twin = service.twin(each)
        assert twin.version == 2
        assert service.pending(each) == 0


@pytest.mark.parametrize(
    "name",
    [
        "devices/{other}/messages/devicebound/#",
        "devices/{other}/#",
        "devices/{other}/messages/#",
        "devices/{id}/modules/m/#",
        "$SYS/#",
        "devices/{id}/messages/events/#",
        "devices/{id}#",
        "a/#/b",
        "devices/{id}/messages/devicebound/x#",
        "",
        "devices/{id}/messages/devicebound/+x",
        "$iothub/twin/PATCH/properties/reported/#",
    ],
)
def test_a_filter_that_can_match_nothing_of_ones_own_ends_the_connection(device, make, name):
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(1, (name.format(id=device.id, other=make().id), 1)))
        assert peer.is_closed()


@pytest.mark.parametrize("name", ["#", "+/+/+/#", "devices/+/messages/devicebound/#", "devices/#", "+/#", "$iothub/#"])
def test_a_wildcard_wins_nothing_of_other_devices(service, device, make, name):
    other = make("neighbour")
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(1, (name, 1)))
        try:
            assert peer.receive()[:1] == b"\x90"
        except mqtt.Closed:
            return
        service.send(other, "not yours")
        service.update_twin(other, {"not": "yours"})
        service.send(device, "yours")
        taken = []
        if not name.startswith("$"):
            topic, body = mqtt.taken(peer.receive())
            taken.append(body)
            assert topic.startswith(f"devices/{device.id}/")
            assert body == b"yours"
        assert is_alive(peer)


def test_a_device_named_like_the_beginning_of_another_gets_nothing_of_it(service, make):
    short = make("prefix")
    manager = service.sdk
    longer = f"{short.id}-longer"
    manager.create_device_with_sas(longer, short.key, short.secondary_key, "enabled")
    with short.sign_in() as peer:
        peer.send(mqtt.subscribe(1, (f"devices/{short.id}/messages/devicebound/#", 1)))
        assert peer.receive()[:2] == b"\x90\x03"
        manager.send_c2d_message(longer, "not yours", {})
        assert is_alive(peer)
        assert peer.send(mqtt.publish(f"devices/{longer}/messages/events/", b"forged")).is_closed()


@pytest.mark.parametrize("name", ["a+b", "a#b", "#", "+", "a%2fb", "a%b", "...", "$iothub", "a(b)'c*!?@=,", "%23"])
def test_ids_with_path_and_wildcard_characters_are_only_names(hub, service, device, name):
    made = service.sdk.create_device_with_sas(name, device.key, device.secondary_key, "enabled")
    odd = Device(hub, made.device_id, device.key, device.secondary_key)
    try:
        resource = f"{hub.host}/devices/{urllib.parse.quote(name, safe='')}"
        password = tokens.token(resource, device.key)
        with mqtt.Peer(hub) as peer:
            peer.send(mqtt.connect(name, f"{hub.host}/{name}/?api-version=2021-04-12", password, clean=True))
            answer = peer.receive()
            assert answer == b"\x20\x02\x00\x00", answer.hex()
            with device.sign_in() as other:
                other.send(mqtt.subscribe(1, (f"devices/{device.id}/messages/devicebound/#", 1)))
                assert other.receive()[:2] == b"\x90\x03"
                assert peer.send(mqtt.publish(odd.topic, b"odd")).receive() == b"\x40\x02\x00\x01"
                assert read(hub, device=odd.id, partition_id=odd.partition)[-1].body == b"odd"
                assert is_alive(other)
    finally:
        service.sdk.delete_device(name)


# Modules


def test_a_module_is_not_its_device_and_not_its_sibling(device):
    one, two = make_module(device, "one"), make_module(device, "two")
    for topic in (device.topic, two.topic, f"devices/{device.id}/modules/one/modules/two/messages/events/"):
        with one.sign_in() as peer:
            assert peer.send(mqtt.publish(topic, b"forged")).is_closed()
    for name in (f"{device.path}/messages/devicebound/#", f"{two.path}/inputs/#"):
        with one.sign_in() as peer:
            assert peer.send(mqtt.subscribe(1, (name, 1))).is_closed()
    with device.sign_in() as peer:
        assert peer.send(mqtt.publish(one.topic, b"forged")).is_closed()


def test_the_key_of_a_device_or_a_sibling_does_not_sign_a_module_in(device):
    one, two = make_module(device, "one"), make_module(device, "two")
    for key in (device.key, two.key):
        with mqtt.Peer(device.hub) as peer:
            peer.send(one.connect_packet(password=one.token(key=key)))
            assert peer.receive() == b"\x20\x02\x00\x05"
    for password in (two.token(), one.token()):
        with mqtt.Peer(device.hub) as peer:
            peer.send(device.connect_packet(password=password))
            assert peer.receive() == b"\x20\x02\x00\x05"


def test_a_module_sees_its_own_twin_only(service, device):
    module = make_module(device)
    service.update_twin(device, {"of": "device"})
    with twin_peer(device) as of_device, twin_peer(module) as of_module:
        _, body = request(of_module, "$iothub/twin/GET/?$rid=1")
        assert json.loads(body)["desired"] == {"$version": 1}
        assert request(of_module, REPORT + "2", b'{"mine":1}')[0] == "$iothub/twin/res/204/?$rid=2&$version=2"
        _, body = request(of_device, "$iothub/twin/GET/?$rid=3")
        assert json.loads(body) == {"desired": {"of": "device", "$version": 2}, "reported": {"$version": 1}}


# Twin requests


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[1]",
        b'"x"',
        b"null",
        b"1",
        b'{"a":1}{',
        b'{"a":01}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\x01"}',
        b'{"a":"\\ud800"}',
        b'{"$version":3}',
        b'{"$metadata":{}}',
        b'{"a":{"$b":1}}',
        b'{"a.b":1}',
        b'{"a#b":1}',
        b'{"a b":1}',
        b'{"a":[null]}',
        b'{"a":[[{"b":null}]]}',
        b'{"a":4503599627370496}',
        b'{"a":1,"a":',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"a":' + b"[" * 50_000,
        nested(13),
        nested(5000),
        b'{"' + b"k" * 1025 + b'":1}',
        b'{"a":"' + b"s" * 4097 + b'"}',
        b"{" + b",".join(b'"k%d":"%s"' % (n, b"v" * 4000) for n in range(9)) + b"}",
        b'{"a":"' + b"x" * 200_000 + b'"}',
    ],
    ids=lambda body: repr(body[:24])[2:-1] + f"..{len(body)}",
)
def test_mqtt_082_mqtt_088_a_report_that_is_not_one_is_refused_and_the_twin_stays(service, device, body):
    with twin_peer(device) as peer:
        assert request(peer, REPORT + "ok", b'{"kept":1}')[0].endswith("204/?$rid=ok&$version=2")
        topic, answer = request(peer, REPORT + "bad", body)
        status = int(topic.removeprefix("$iothub/twin/res/").partition("/")[0])
        assert status in (400, 413)
        assert topic == f"$iothub/twin/res/{status}/?$rid=bad"
        error = json.loads(answer)
        assert error["errorCode"] // 1000 == status
        assert error["message"]
        _, twin = request(peer, "$iothub/twin/GET/?$rid=g")
        assert json.loads(twin)["reported"] == {"kept": 1, "$version": 2}


def test_depth_and_sizes_at_the_limit_are_accepted(device):
    fits = [
        nested(10),
        b'{"' + b"k" * 1024 + b'":1}',
        b'{"a":"' + b"s" * 4096 + b'"}',
        b'{"a":-4503599627370496,"b":4503599627370495}',
        b"{}",
        b'{"a":1,"a":2}',
        b' \n{"a" : 1 }\t',
        b'{"a":"\\ud83c\\udf21"}',
        '{"größe":"温度"}'.encode(),
    ]
    with twin_peer(device) as peer:
        for n, body in enumerate(fits):
            assert request(peer, f"{REPORT}{n}", body)[0].startswith(f"$iothub/twin/res/204/?$rid={n}&$version="), body


@pytest.mark.parametrize(
    "rid",
    ["0", "x" * 1000, "a=b", "%24", "%", "a/b", "温度", "?", "$rid=2", " ", "0" * 36],
)
def test_any_rid_comes_back_byte_for_byte(device, rid):
    with twin_peer(device) as peer:
        topic, body = request(peer, "$iothub/twin/GET/?$rid=" + rid)
        assert topic == "$iothub/twin/res/200/?$rid=" + rid
        assert json.loads(body)["reported"] == {"$version": 1}


@pytest.mark.parametrize("tail", ["/", "/?", "/?rid=1", ""])
def test_mqtt_087_a_read_without_rid_ends_the_connection(device, tail):
    with twin_peer(device) as peer:
        assert peer.send(mqtt.publish("$iothub/twin/GET" + tail, b"", qos=0)).is_closed()


@pytest.mark.parametrize("version", ["-1", "0", "1", "3"])
def test_mqtt_081_a_report_on_a_version_that_is_not_the_present_one_is_refused(device, version):
    with twin_peer(device) as peer:
        assert request(peer, REPORT + "1", b'{"a":1}')[0].endswith("204/?$rid=1&$version=2")
        topic, _ = request(peer, f"{REPORT}2&$version={version}", b'{"a":2}')
        assert topic.split("/")[3] in ("412", "400")
        _, twin = request(peer, "$iothub/twin/GET/?$rid=3")
        assert json.loads(twin)["reported"] == {"a": 1, "$version": 2}


# Answers to methods


@pytest.mark.parametrize(
    "topic",
    [
        "$iothub/methods/res/200/?$rid=ffff",
        "$iothub/methods/res/200/?$rid=",
        "$iothub/methods/res/200/?$rid=xyz",
        "$iothub/methods/res/x/?$rid=1",
        "$iothub/methods/res/99999999999/?$rid=1",
        "$iothub/methods/res/200/?$rid=" + "f" * 60,
        "$iothub/methods/res/200/?$rid=-1",
        "$iothub/methods/res/200/?$rid=18446744073709551616",
    ],
)
def test_mqtt_075_an_answer_that_nobody_waits_for_is_acknowledged_and_ignored(device, topic):
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(1, (METHODS, 0)))
        assert peer.receive()[:2] == b"\x90\x03"
        assert peer.send(mqtt.publish(topic, b"{}", packet_id=7)).receive() == b"\x40\x02\x00\x07"
        assert is_alive(peer)


def test_a_device_does_not_answer_for_another(service, device, make):
    other = make()
    with device.sign_in() as peer, other.sign_in() as thief:
        for each in (peer, thief):
            each.send(mqtt.subscribe(1, (METHODS, 0)))
            assert each.receive()[:2] == b"\x90\x03"
        calling = start(lambda: service.invoke(device, "m"))
        topic, _ = mqtt.taken(peer.receive())
        rid = topic.partition("$rid=")[2]
        thief.send(mqtt.publish("$iothub/methods/res/200/?$rid=" + rid, b'"stolen"', packet_id=9))
        assert thief.receive() == b"\x40\x02\x00\x09"
        peer.send(mqtt.publish("$iothub/methods/res/200/?$rid=" + rid, b'"mine"', qos=0))
        assert calling.result(20).payload == "mine"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"not json", b"[" * 60_000])
def test_an_answer_that_is_no_json_does_not_break_the_caller(hub, device, body):
    with device.sign_in() as peer:
        peer.send(mqtt.subscribe(1, (METHODS, 0)))
        assert peer.receive()[:2] == b"\x90\x03"
        calling = start(lambda: call(hub, "POST", f"/twins/{device.id}/methods", json={"methodName": "m"}))
        rid = mqtt.taken(peer.receive())[0].partition("$rid=")[2]
        peer.send(mqtt.publish("$iothub/methods/res/200/?$rid=" + rid, body, qos=0))
        answer = calling.result(20)
        assert answer.status_code in (200, 502)
        assert answer.json()
        assert is_alive(peer)


# The same through paho-mqtt, as a device would meet it


def test_paho_is_cut_off_when_it_publishes_for_another_device(device, make):
    other = make()
    with Connection(device, device.token()) as connection:
        lost = []
        connection.client.on_disconnect = lambda client, data, code: lost.append(code)
        connection.client.publish(other.topic, "forged", qos=1)
        eventually(lambda: lost)
        connection.client.disconnect()
        assert lost[0] != 0
