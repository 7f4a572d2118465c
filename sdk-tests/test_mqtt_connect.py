# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""What a raw MQTT peer sees when it connects: CONNACK codes, tokens, take-over, keep alive, wills, expiry."""

import time

import pytest

from support import mqtt, tokens
from support.devices import API_VERSION, registry
from support.mqtt import Peer
from support.reading import read

ACCEPTED, RESUMED, REFUSED = b"\x20\x02\x00\x00", b"\x20\x02\x01\x00", b"\x20\x02\x00\x05"


def answer(device, packet: bytes) -> bytes:
    """The answer to a CONNECT; a refusal must be followed by the end of the connection."""
    with Peer(device.hub) as peer:
        packet = peer.send(packet).receive()
        if packet == REFUSED:
            assert peer.is_closed()
        return packet


def test_mqtt_001_clean_session_0_is_accepted_with_session_present(device):
    assert answer(device, device.connect_packet(clean=False)) == RESUMED


def test_mqtt_002_clean_session_1_is_accepted_without_session_present(device):
    assert answer(device, device.connect_packet(clean=True)) == ACCEPTED


@pytest.mark.parametrize(
    "tail",
    [
        "", "/", "/?api-version=2021-04-12", "/?api-version=2020-09-30&DeviceClientType=py%2F1",
        "/api-version=2016-11-14&DeviceClientType=c", "/api-version=2017-06-30/DeviceClientType=c",
        "/?DeviceClientType=node&api-version=2021-04-12", "/?api-version=1&api-version=2&unknown=%zz",
    ],
)  # fmt: skip
def test_mqtt_004_security_020_each_form_of_the_username_is_accepted(device, tail):
    username = f"{device.hub.host}/{device.id}{tail}"
    assert answer(device, device.connect_packet(username=username, clean=True)) == ACCEPTED


def test_mqtt_006_security_021_a_client_id_that_differs_from_the_username_is_refused(make, device):
    other = make()
    packet = mqtt.connect(device.id, other.username, other.token())
    assert answer(device, packet) == REFUSED


def test_mqtt_007_the_client_id_is_case_sensitive(make):
    device = make("lower")
    upper = device.id.upper()
    username = f"{device.hub.host}/{upper}/?api-version={API_VERSION}"
    assert answer(device, mqtt.connect(upper, username, device.token())) == REFUSED


def test_mqtt_008_an_unknown_device_is_refused(device):
    username = f"{device.hub.host}/nobody/?api-version={API_VERSION}"
    password = tokens.token(f"{device.hub.host}/devices/nobody", device.key)
    assert answer(device, mqtt.connect("nobody", username, password)) == REFUSED


@pytest.mark.parametrize("password", ["", "garbage", "SharedAccessSignature sr=a&sig=b&se=c", "wrong key", None])
def test_mqtt_009_a_password_that_is_no_proof_is_refused(device, make, password):
    if password == "wrong key":
        password = device.token(key=make().key)
    assert answer(device, mqtt.connect(device.id, device.username, password)) == REFUSED


def test_mqtt_010_security_007_a_token_expired_for_longer_than_the_skew_is_refused(device):
    assert answer(device, device.connect_packet(password=device.token(lifetime=-600))) == REFUSED
    assert answer(device, device.connect_packet(password=device.token(lifetime=-302))) == REFUSED


def test_mqtt_011_security_007_a_token_expired_within_the_skew_is_accepted(device):
    assert answer(device, device.connect_packet(password=device.token(lifetime=-120), clean=True)) == ACCEPTED
    assert answer(device, device.connect_packet(password=device.token(lifetime=-290), clean=True)) == ACCEPTED


@pytest.mark.parametrize("order", ["sr,sig,se", "sig,se,sr", "se,sr,sig"])
@pytest.mark.parametrize("slash", ["/", "%2f", "%2F"])
def test_mqtt_012_security_003_each_spelling_of_a_token_is_accepted(device, slash, order):
    password = device.token(encoded=device.resource.replace("/", slash), order=order)
    assert answer(device, device.connect_packet(password=password, clean=True)) == ACCEPTED


def test_mqtt_013_security_018_the_secondary_key_proves_the_same(device):
    password = device.token(key=device.secondary_key)
    assert answer(device, device.connect_packet(password=password, clean=True)) == ACCEPTED


@pytest.mark.parametrize("resource", ["{host}/devices/{id}", "{host}/devices", "{host}"])
@pytest.mark.parametrize("policy", ["device", "iothubowner"])
def test_mqtt_014_security_013_a_policy_that_may_connect_signs_in_any_device(device, policy, resource):
    resource = resource.format(host=device.hub.host, id=device.id)
    password = tokens.token(resource, device.hub.key(policy), policy=policy)
    assert answer(device, device.connect_packet(password=password, clean=True)) == ACCEPTED


@pytest.mark.parametrize("policy", ["service", "registryRead", "registryReadWrite"])
def test_mqtt_015_security_014_a_policy_without_device_connect_signs_in_nobody(device, policy):
    password = tokens.token(device.resource, device.hub.key(policy), policy=policy)
    assert answer(device, device.connect_packet(password=password)) == REFUSED


def test_mqtt_015_security_015_a_resource_covers_whole_segments_only(device):
    password = tokens.token(device.resource[:-1], device.key)
    assert answer(device, device.connect_packet(password=password)) == REFUSED


def test_mqtt_018_security_039_a_disabled_device_is_refused_and_an_enabled_one_let_in_again(make):
    device = make("off", "disabled")
    assert answer(device, device.connect_packet()) == REFUSED
    manager = registry(device.hub)
    etag = manager.get_device(device.id).etag
    manager.update_device_with_sas(device.id, etag, device.key, device.secondary_key, "enabled")
    assert answer(device, device.connect_packet(clean=True)) == ACCEPTED


def test_mqtt_019_a_first_packet_that_is_not_connect_closes(hub):
    with Peer(hub) as peer:
        assert peer.send(mqtt.PINGREQ).is_closed()


def test_mqtt_020_a_second_connect_closes(device):
    with device.sign_in() as peer:
        assert peer.send(device.connect_packet()).is_closed()


def test_mqtt_022_protocol_level_3_is_refused_with_code_1(device):
    with Peer(device.hub) as peer:
        assert peer.send(device.connect_packet(level=3)).receive() == b"\x20\x02\x00\x01"
        assert peer.is_closed()


def test_mqtt_023_what_follows_connect_in_the_same_segment_is_answered_in_order(device):
    with Peer(device.hub) as peer:
        peer.send(
            device.connect_packet(clean=True)
            + mqtt.subscribe(7, (f"devices/{device.id}/messages/devicebound/#", 1))
            + mqtt.publish(device.topic, b"pipelined", packet_id=9)
        )
        assert peer.receive() == ACCEPTED
        assert peer.receive() == b"\x90\x03\x00\x07\x01"
        assert peer.receive() == b"\x40\x02\x00\x09"


def test_mqtt_024_security_043_the_newer_connection_of_a_device_wins(device):
    with device.sign_in() as first, device.sign_in() as second:
        assert first.is_closed()
        assert second.send(mqtt.PINGREQ).receive() == b"\xd0\x00"


def test_mqtt_026_silence_for_one_and_a_half_keep_alives_closes_and_not_sooner(device):
    with device.sign_in(keep_alive=2) as peer:
        started = time.monotonic()
        assert peer.is_closed(10)
        assert 2.9 <= time.monotonic() - started <= 6


def test_mqtt_027_a_ping_is_answered_and_keeps_the_connection(device):
    with device.sign_in(keep_alive=1) as peer:
        for _ in range(4):
            with pytest.raises(TimeoutError):
                peer.receive(0.8)
            assert peer.send(mqtt.PINGREQ).receive() == b"\xd0\x00"


def test_mqtt_028_keep_alive_0_is_not_closed_soon(device):
    with device.sign_in(keep_alive=0) as peer:
        assert not peer.is_closed(3)
        assert peer.send(mqtt.PINGREQ).receive() == b"\xd0\x00"


@pytest.mark.parametrize("change", ["disable", "delete"])
def test_mqtt_030_security_038_disabling_or_deleting_drops_the_live_connection_at_once(device, change):
    manager = registry(device.hub)
    with device.sign_in() as peer:
        if change == "delete":
            manager.delete_device(device.id)
        else:
            etag = manager.get_device(device.id).etag
            manager.update_device_with_sas(device.id, etag, device.key, device.secondary_key, "disabled")
        started = time.monotonic()
        assert peer.is_closed(5)
        assert time.monotonic() - started < 1
    assert answer(device, device.connect_packet()) == REFUSED


def test_security_041_a_device_made_again_under_the_same_id_does_not_know_old_keys(device):
    manager = registry(device.hub)
    manager.delete_device(device.id)
    made = manager.create_device_with_sas(device.id, "", "", "enabled")
    assert made.authentication.symmetric_key.primary_key != device.key
    assert answer(device, device.connect_packet()) == REFUSED


def test_security_040_a_new_primary_key_cuts_its_sessions_and_keeps_those_of_the_other(make):
    first, second = make("rotated"), make("kept")
    manager = registry(first.hub)
    new_key = make().key
    with first.sign_in() as on_primary, second.sign_in(password=second.token(key=second.secondary_key)) as on_secondary:
        for device in (first, second):
            etag = manager.get_device(device.id).etag
            manager.update_device_with_sas(device.id, etag, new_key, device.secondary_key, "enabled")
        assert on_primary.is_closed(5)
        assert on_secondary.send(mqtt.PINGREQ).receive() == b"\xd0\x00"


def test_mqtt_031_a_will_becomes_telemetry_when_the_connection_is_cut(device):
    device.sign_in(will=(device.topic + "a=b", b"last words")).close()
    (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.body == b"last words"
    assert event.properties == {"a": "b", "iothub-MessageType": "Will"}


def test_mqtt_032_no_will_after_disconnect(device):
    with device.sign_in(will=(device.topic, b"never")) as peer:
        peer.send(mqtt.DISCONNECT)
        assert peer.is_closed()
    with device.sign_in() as peer:
        peer.send(mqtt.publish(device.topic, b"later"))
        assert peer.receive() == b"\x40\x02\x00\x01"
    assert [e.body for e in read(device.hub, device=device.id, partition_id=device.partition)] == [b"later"]


def test_mqtt_033_a_take_over_publishes_the_will_of_the_old_connection(device):
    with device.sign_in(will=(device.topic, b"taken over")) as first, device.sign_in():
        assert first.is_closed()
        (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.body == b"taken over"


def test_security_061_what_is_secret_is_readable_by_the_owner_only(hub):
    assert hub.data.stat().st_mode & 0o777 == 0o700
    for file in hub.data.rglob("*"):
        if file.is_file() and file.suffix in (".key", ".json", ".sqlite", ".db"):
            assert file.stat().st_mode & 0o077 == 0, file


def test_security_052_no_key_or_signature_is_in_what_the_hub_writes(device):
    password = device.token()
    with device.sign_in(password=password) as peer:
        peer.send(mqtt.publish(device.topic + "secretive=canary-value", b"canary-body"))
        peer.receive()
    assert answer(device, mqtt.connect(device.id, device.username, password[:-3] + "000")) == REFUSED
    # What it prints for people to copy comes before it is ready; nothing secret comes after.
    said = device.hub.said().split("roost is ready", 1)[-1]
    metrics = device.hub.get("/metrics")[1]
    signature = password.split("sig=")[1].split("&")[0]
    for secret in (device.key, device.secondary_key, signature, "canary-body", "canary-value"):
        assert secret not in said
        assert secret not in metrics


def test_mqtt_029_security_008_a_live_connection_ends_with_its_token(device):
    # Five minutes of skew are granted, so this one ends in about three seconds.
    with device.sign_in(password=device.token(lifetime=-297)) as peer:
        started = time.monotonic()
        assert peer.is_closed(40)
        assert time.monotonic() - started > 1
    assert answer(device, device.connect_packet(clean=True)) == ACCEPTED
