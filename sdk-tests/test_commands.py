# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Commands from Microsoft's service SDK to each shape of its device SDK, and what becomes of them."""

import time
import urllib.parse
import uuid

import pytest

from support import mqtt
from support.clients import SHAPES, TWO_SHAPES, Client
from support.proxy import UP
from support.reading import eventually
from support.services import Feedback, call, command, connection


def bodies(client, count: int) -> list[bytes]:
    return [client.receive().data for _ in range(count)]


def subscribed(device, quality: int = 1, **options) -> mqtt.Peer:
    """A raw connection that holds the filter of commands."""
    peer = device.sign_in(**options)
    peer.send(mqtt.subscribe(1, (f"devices/{device.id}/messages/devicebound/#", quality)))
    assert peer.receive() == b"\x90\x03\x00\x01" + bytes([quality])
    return peer


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_messages_030_each_shape_of_the_client_takes_commands_with_all_their_properties(service, device, shape):
    expiry = int(time.time() * 1000) + 600_000
    properties = {"color": "blue", "a/b": "c d+e=f&g?h#%25", "größe": "温度 🌡", "$x": "y"}
    with Client(device, shape) as client, Feedback(device.hub) as feedback:
        client.listen("commands")
        sent = service.send(
            device, b"\x00\xff body", ack="full", correlationId="c/1", contentType="application/json",
            contentEncoding="utf-8", expiryTimeUtc=expiry, **properties,
        )  # fmt: skip
        taken = client.commands.get(timeout=20)
        assert taken.data == b"\x00\xff body"
        assert (taken.message_id, taken.correlation_id, taken.ack) == (sent, "c/1", "full")
        assert (taken.content_type, taken.content_encoding) == ("application/json", "utf-8")
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expiry / 1000)) + f".{expiry % 1000:03}0000Z"
        assert taken.expiry_time_utc == at
        assert taken.custom_properties == properties
        assert feedback.wait([sent]) == {sent: ["Success"]}
        eventually(lambda: service.pending(device) == 0)


def test_messages_016_messages_017_messages_018_the_topic_is_what_every_sdk_can_read(service, device):
    with subscribed(device) as peer:
        service.send(device, "x", messageId="m", expiryTimeUtc=int(time.time() * 1000) + 60_000, **{"k y": "a+b/c"})
        topic, _ = mqtt.taken(peer.receive())
        bag = topic.removeprefix(f"devices/{device.id}/messages/devicebound/")
        assert bag.startswith(f"%24.to=%2Fdevices%2F{device.id}%2Fmessages%2Fdevicebound")
        pairs = dict(pair.split("=") for pair in bag.split("&"))
        assert pairs["%24.mid"] == "m"
        assert pairs["k%20y"] == "a%2Bb%2Fc"
        expiry = urllib.parse.unquote(pairs["%24.exp"])
        assert len(expiry) == len("2024-01-01T00:00:00.0000000Z")
        assert expiry.endswith("Z")
        assert not set("$ +/") & set(bag)


def test_messages_013_ids_that_are_uuids_and_numbers_are_kept_as_text(service, device):
    sending = connection(device.hub)
    try:
        sender = sending.create_sender("/messages/devicebound")
        ids = [uuid.uuid4(), 18_446_744_073_709_551_615, "text"]
        with Client(device) as client, Feedback(device.hub) as feedback:
            for each in ids:
                made = command(device, b"x", each)
                made.correlation_id = each
                sender.send(made)
            for each in ids:
                taken = client.receive()
                assert (taken.message_id, taken.correlation_id) == (str(each), str(each))
            assert set(feedback.wait(map(str, ids))) == set(map(str, ids))
    finally:
        sending.close()


def test_messages_021_a_sender_that_asks_for_nothing_gets_no_feedback(service, device):
    with Client(device) as client, Feedback(device.hub) as feedback:
        silent = service.send(device, "silent")
        asking = service.send(device, "asking", ack="positive")
        assert bodies(client, 2) == [b"silent", b"asking"]
        feedback.wait([asking])
        assert silent not in feedback.records


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_messages_031_messages_032_commands_wait_for_a_device_that_is_away_and_come_in_order(service, device, shape):
    for n in range(10):
        service.send(device, str(n))
    assert service.pending(device) == 10
    with Client(device, shape) as client:
        assert bodies(client, 10) == [str(n).encode() for n in range(10)]
        eventually(lambda: service.pending(device) == 0)
    for n in range(10, 15):
        service.send(device, str(n))
    with Client(device, shape) as client:
        assert bodies(client, 5) == [str(n).encode() for n in range(10, 15)]


@pytest.mark.parametrize("shape", TWO_SHAPES, ids=str)
def test_a_session_that_lost_its_network_gets_its_commands_without_subscribing_again(service, device, proxy, shape):
    with Client(device, shape, host=proxy.address, connection_retry_interval=1) as client:
        service.send(device, "0")
        assert bodies(client, 1) == [b"0"]
        # One whose acknowledgement the cut takes away would come again.
        eventually(lambda: service.pending(device) == 0)
        proxy.refuse()
        proxy.cut()
        for n in range(1, 6):
            service.send(device, str(n))
        proxy.accept()
        assert bodies(client, 5) == [str(n).encode() for n in range(1, 6)]
        eventually(lambda: service.pending(device) == 0)


def test_a_command_whose_acknowledgement_was_lost_comes_again_and_ends_once(service, device, proxy):
    with Client(device, host=proxy.address, connection_retry_interval=1) as client, Feedback(device.hub) as feedback:
        service.send(device, "before")
        assert bodies(client, 1) == [b"before"]
        eventually(lambda: service.pending(device) == 0)
        proxy.stall(UP)
        sent = [service.send(device, str(n), ack="full") for n in range(3)]
        assert bodies(client, 3) == [b"0", b"1", b"2"]
        assert service.pending(device) == 3
        proxy.cut()
        proxy.resume()
        assert bodies(client, 3) == [b"0", b"1", b"2"]
        assert feedback.wait(sent) == {each: ["Success"] for each in sent}
        eventually(lambda: service.pending(device) == 0)


def test_messages_027_an_expired_command_is_not_delivered_and_its_sender_hears_of_it(service, device):
    with Feedback(device.hub) as feedback:
        soon = int(time.time() * 1000) + 1500
        gone = [service.send(device, f"gone {n}", ack="negative", expiryTimeUtc=soon) for n in range(2)]
        kept = service.send(device, "kept", ack="full")
        assert feedback.wait(gone) == {each: ["Expired"] for each in gone}
        with Client(device) as client:
            assert bodies(client, 1) == [b"kept"]
        assert feedback.wait([kept]) == {kept: ["Success"]}


def test_messages_028_an_expiry_in_the_past_is_refused(service, device):
    with pytest.raises(Exception, match="send failure|expiry|argument|Expiry"):
        service.send(device, "late", expiryTimeUtc=int(time.time() * 1000) - 60_000)
    assert service.pending(device) == 0


def test_messages_029_purge_says_how_many_it_removed_and_their_senders_hear_of_it(hub, service, device):
    with Feedback(hub) as feedback:
        sent = [service.send(device, str(n), ack="negative") for n in range(3)]
        answer = call(hub, "DELETE", f"/devices/{device.id}/commands")
        assert answer.json() == {"totalMessagesPurged": 3, "deviceId": device.id, "moduleId": None}
        assert feedback.wait(sent) == {each: ["Purged"] for each in sent}
    assert service.pending(device) == 0
    assert call(hub, "DELETE", f"/devices/{device.id}/commands").json()["totalMessagesPurged"] == 0
    with Client(device) as client:
        service.send(device, "after")
        assert bodies(client, 1) == [b"after"]


def test_messages_026_fifty_commands_fit_and_there_is_room_when_one_has_gone(service, device):
    for n in range(50):
        service.send(device, str(n))
    with pytest.raises(Exception, match="send failure|resource|depth|Depth"):
        service.send(device, "one too many")
    with Client(device) as client:
        assert bodies(client, 50) == [str(n).encode() for n in range(50)]
        eventually(lambda: service.pending(device) == 0)
        service.send(device, "room again")
        assert bodies(client, 1) == [b"room again"]


def test_messages_066_deleting_a_device_ends_its_connection_and_drops_its_queue(service, make):
    device = make("deleted")
    for n in range(3):
        service.send(device, str(n))
    with Client(device, connection_retry=False) as client:
        service.sdk.delete_device(device.id)
        eventually(lambda: not client.sdk.connected)
    made = service.sdk.create_device_with_sas(device.id, device.key, device.secondary_key, "enabled")
    assert made.cloud_to_device_message_count == 0
    with Client(device) as client:
        service.send(device, "first")
        assert bodies(client, 1) == [b"first"]


def test_messages_067_a_device_made_again_has_another_generation(service, make):
    device = make("twice")
    first = service.sdk.get_device(device.id).generation_id
    service.sdk.delete_device(device.id)
    service.sdk.create_device_with_sas(device.id, device.key, device.secondary_key, "enabled")
    assert service.sdk.get_device(device.id).generation_id != first


def test_a_disabled_device_keeps_its_queue(service, make):
    device = make("disabled")
    service.send(device, "kept")
    etag = service.sdk.get_device(device.id).etag
    service.sdk.update_device_with_sas(device.id, etag, device.key, device.secondary_key, "disabled")
    service.send(device, "also")
    etag = service.sdk.get_device(device.id).etag
    service.sdk.update_device_with_sas(device.id, etag, device.key, device.secondary_key, "enabled")
    with Client(device) as client:
        assert bodies(client, 2) == [b"kept", b"also"]


def test_mqtt_066_a_subscription_with_qos_0_completes_what_it_is_sent(service, device):
    with Feedback(device.hub) as feedback, subscribed(device, 0, clean=True) as peer:
        sent = service.send(device, "once", ack="full")
        packet = peer.receive()
        assert packet[0] == 0x30
        assert feedback.wait([sent]) == {sent: ["Success"]}
        assert service.pending(device) == 0


def test_mqtt_065_what_was_not_acknowledged_comes_again_marked_as_such(service, device):
    with subscribed(device) as peer:
        service.send(device, "again", messageId="m")
        first = peer.receive()
        assert first[0] == 0x32
    with device.sign_in() as peer:
        second = peer.receive()
        assert second[0] == 0x3A
        assert mqtt.taken(second) == mqtt.taken(first)
        peer.send(b"\x40\x02" + mqtt.packet_id(second))
        eventually(lambda: service.pending(device) == 0)


def test_a_command_that_its_device_never_survives_ends_with_feedback(service, device):
    with Feedback(device.hub) as feedback:
        with subscribed(device) as peer:
            sent = service.send(device, "crash", ack="full")
            peer.receive()
        for _ in range(9):
            with device.sign_in() as peer:
                assert mqtt.taken(peer.receive())[1] == b"crash"
        assert feedback.wait([sent]) == {sent: ["DeliveryCountExceeded"]}
        assert service.pending(device) == 0


def test_a_module_takes_no_commands(hub, service, device):
    with pytest.raises(Exception, match="(?i)send failure|not.?found|argument|not supported"):
        service.sdk.send_c2d_message(f"{device.id}/modules/m", "x", {})
