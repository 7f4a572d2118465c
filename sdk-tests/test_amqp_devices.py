# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Devices, modules and gateways over AMQP, by uamqp (TLS and WebSockets) and Qpid Proton (TLS)."""

import concurrent.futures
import datetime
import json
import re
import uuid

import pytest
import uamqp
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from proton import Message, int32, symbol
from proton._exceptions import ConnectionException
from proton.utils import LinkDetached, SendException

from support import tokens
from support.amqp import Gateway, Identity, uamqp_authentication
from support.devices import make_device, make_module, registry
from support.reading import eventually, plain_text, read

TRANSPORTS = [uamqp.TransportType.Amqp, uamqp.TransportType.AmqpOverWebsocket]


@pytest.fixture
def gateway(hub):
    with Gateway(hub) as made:
        yield made


def uamqp_send(device, *messages, transport=uamqp.TransportType.Amqp, **options):
    client = uamqp.SendClient(
        f"amqps://{device.hub.host}/{device.path}/messages/events",
        auth=uamqp_authentication(device, transport, **options),
    )
    try:
        client.queue_message(*messages)
        return client.send_all_messages()
    finally:
        client.close()


# uamqp


@pytest.mark.parametrize("transport", TRANSPORTS, ids=["tls", "websocket"])
def test_amqp_044_uamqp_sends_telemetry(device, transport):
    message = uamqp.Message(
        b'{"t":21}',
        properties=uamqp.message.MessageProperties(
            message_id="m-1", correlation_id="c-1", content_type="application/json", content_encoding="utf-8"
        ),
        application_properties={"alert": "false"},
    )
    assert uamqp_send(device, message, transport=transport) == [uamqp.constants.MessageState.SendComplete]
    (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.body == b'{"t":21}'
    assert (event.message_id, event.correlation_id) == ("m-1", "c-1")
    assert (event.content_type, event.content_encoding) == ("application/json", "utf-8")
    assert event.properties == {"alert": "false"}
    assert json.loads(event.annotations["iothub-connection-auth-method"])["scope"] == "device"


@pytest.mark.parametrize("transport", TRANSPORTS, ids=["tls", "websocket"])
def test_amqp_045_uamqp_sends_a_batch_that_becomes_events_in_order(device, transport):
    batch = uamqp.BatchMessage(data=[b"%d" % n for n in range(20)], multi_messages=False)
    assert uamqp_send(device, batch, transport=transport) == [uamqp.constants.MessageState.SendComplete]
    events = read(device.hub, 20, device=device.id, partition_id=device.partition)
    assert [event.body for event in events] == [b"%d" % n for n in range(20)]


def test_amqp_044_uamqp_sends_as_a_module(device):
    module = make_module(device)
    assert uamqp_send(module, uamqp.Message(b"x")) == [uamqp.constants.MessageState.SendComplete]
    (event,) = read(device.hub, device=device.id, partition_id=device.partition)
    assert event.annotations["iothub-connection-module-id"] == module.module


def test_amqp_040_uamqp_is_refused_with_a_wrong_key(device, make):
    other = make()
    with pytest.raises((uamqp.errors.AMQPError, uamqp.errors.TokenExpired, uamqp.errors.TokenAuthFailure)):
        uamqp_send(device, uamqp.Message(b"x"), key=other.key)


# Proton


def test_amqp_043_a_gateway_sends_for_many_and_one_end_disturbs_nobody(gateway, make):
    devices = [make() for _ in range(10)]
    identities = [gateway.identity(device) for device in devices]
    for number, identity in enumerate(identities):
        for turn in range(3):
            identity.send(b"%d-%d" % (number, turn), id=uuid.uuid4())
    registry(devices[0].hub).update_device_with_sas(
        devices[3].id, "*", devices[3].key, devices[3].secondary_key, "disabled"
    )
    with pytest.raises((LinkDetached, SendException)):
        identities[3].send(b"never")
    for number, identity in enumerate(identities):
        if number != 3:
            identity.send(b"after")
    for number in (0, 3, 9):
        wanted = [b"%d-%d" % (number, turn) for turn in range(3)] + ([b"after"] if number != 3 else [])
        device = devices[number]
        events = read(device.hub, len(wanted), device=device.id, partition_id=device.partition)
        assert [event.body for event in events if event.body != b"never"] == wanted
        assert uuid.UUID(events[0].message_id)


def test_amqp_028_security_026_a_device_without_a_token_is_refused_and_the_others_go_on(gateway, device, make):
    own = gateway.identity(device)
    other = make()
    with pytest.raises(LinkDetached) as refusal:
        gateway.sender(f"{other.path}/messages/events")
    assert "amqp:unauthorized-access" in str(refusal.value)
    assert gateway.put_token(other, token=other.token(key=device.key)) == 401
    own.send(b"x")


def test_a_refused_token_is_told_once_in_the_log(own_hub):
    hub = own_hub.start()
    device, other = make_device(hub), make_device(hub)
    with Gateway(hub) as gateway:
        assert gateway.put_token(device, token=device.token(key=other.key)) == 401
    (told,) = eventually(lambda: re.findall(".*(?:Refused a sign-in|token refused).*", hub.said()))
    assert device.id in told


def test_tokens_follow_each_other_without_waiting(gateway, device):
    gateway.identity(device)
    receiver, sender = gateway.claims
    properties = {
        "operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": device.resource,
    }  # fmt: skip
    sent = [sender.link.send(Message(id=n, properties=properties, body=device.token())) for n in range(600)]
    answers = [receiver.receive(timeout=20) for _ in sent]
    assert [answer.correlation_id for answer in answers] == list(range(600))
    assert {answer.properties["status-code"] for answer in answers} == {200}
    assert all(each.remote_state == each.ACCEPTED for each in sent)


def test_amqp_001_a_client_without_sasl_signs_in_by_put_token(hub, device):
    with Gateway(hub, sasl_enabled=False) as gateway:
        gateway.identity(device).send(b"no sasl")
    (event,) = read(hub, device=device.id, partition_id=device.partition)
    assert event.body == b"no sasl"


def test_amqp_006_plain_opens_that_device_links_only(hub, device, make):
    other = make()
    user = f"{device.id}@sas.{hub.event_hub}"
    with Gateway(hub, allowed_mechs="PLAIN", user=user, password=device.token()) as gateway:
        Identity(gateway, device).send(b"plain")
        with pytest.raises(LinkDetached):
            gateway.sender(f"{other.path}/messages/events")
    with pytest.raises(ConnectionException):
        Gateway(hub, allowed_mechs="PLAIN", user=user, password=other.token())


def test_amqp_049_a_message_that_is_too_large_is_rejected_and_the_link_stays(gateway, device):
    identity = gateway.identity(device)
    with pytest.raises(SendException):
        identity.send(b"x" * 262_145)
    identity.send(b"x" * 200_000)


# Twins


@pytest.mark.parametrize("of", ["device", "module"])
def test_amqp_062_amqp_063_proton_reads_and_reports_a_twin(gateway, device, of):
    identity = gateway.identity(device if of == "device" else make_module(device))
    assert identity.twin_document() == {"desired": {"$version": 1}, "reported": {"$version": 1}}
    answer = identity.twin("PATCH", b'{"a":{"b":1}}', resource="/properties/reported")
    assert (answer.annotations["status"], answer.annotations["version"]) == (204, 2)
    assert type(answer.annotations["status"]) is int32
    assert type(answer.annotations["version"]) is int
    assert identity.twin_document()["reported"] == {"a": {"b": 1}, "$version": 2}
    refused = identity.twin("PATCH", b"{", resource="/properties/reported")
    assert refused.annotations["status"] == 400


def test_amqp_064_amqp_065_proton_is_told_of_desired_properties(gateway, device, make):
    identities = [gateway.identity(device), gateway.identity(make())]
    for identity in identities:
        answer = identity.twin("PUT", resource="/notifications/twin/properties/desired")
        assert 200 <= answer.annotations["status"] < 300
    service = registry(device.hub)
    for n, identity in enumerate(identities):
        service.update_twin(identity.device.id, Twin(properties=TwinProperties(desired={"rate": n})), None)
    for n, identity in enumerate(identities):
        notice = identity.link("receiver", "twin").receive(timeout=20)
        assert notice.correlation_id is None
        assert json.loads(bytes(notice.body)) == {"rate": n, "$version": 2}
        assert notice.annotations["version"] == 2


# Methods


@pytest.mark.parametrize("of", ["device", "module"])
def test_amqp_060_proton_answers_the_service_sdk(gateway, device, of):
    identity = gateway.identity(device if of == "device" else make_module(device))
    identity.listen_for_methods()
    service = registry(device.hub)
    call = CloudToDeviceMethod(method_name="reboot", payload={"delay": 5}, response_timeout_in_seconds=20)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        if of == "device":
            waiting = pool.submit(service.invoke_device_method, device.id, call)
        else:
            waiting = pool.submit(service.invoke_device_module_method, device.id, identity.device.module, call)
        request = identity.answer_method(200, b'{"ok":true}')
        result = waiting.result(20)
    assert isinstance(request.correlation_id, uuid.UUID)
    assert request.correlation_id.version == 4
    assert request.properties == {"IoThub-methodname": "reboot"}
    assert json.loads(bytes(request.body)) == {"delay": 5}
    assert (result.status, result.payload) == (200, {"ok": True})


# Commands


def send_command(device, body: bytes, **properties):
    service = uamqp.SendClient(
        f"amqps://{device.hub.host}/messages/devicebound",
        auth=uamqp.authentication.SASTokenAuth(
            f"https://{device.hub.host}", f"amqps://{device.hub.host}",
            tokens.token(device.hub.host, device.hub.key("service"), policy="service"),
            expires_in=datetime.timedelta(hours=1), verify=device.hub.ca_file,
        ),
    )  # fmt: skip
    message = uamqp.Message(
        body,
        properties=uamqp.message.MessageProperties(to=f"/devices/{device.id}/messages/devicebound", **properties),
        application_properties={"a": "b"},
    )
    try:
        service.queue_message(message)
        return service.send_all_messages()
    finally:
        service.close()


@pytest.mark.parametrize("transport", TRANSPORTS, ids=["tls", "websocket"])
def test_amqp_055_uamqp_completes_rejects_and_releases_commands(device, transport):
    for body in (b"accept", b"reject", b"release"):
        assert send_command(device, body) == [uamqp.constants.MessageState.SendComplete]
    client = uamqp.ReceiveClient(
        f"amqps://{device.hub.host}/{device.path}/messages/devicebound",
        auth=uamqp_authentication(device, transport), prefetch=10, auto_complete=False,
        receive_settle_mode=uamqp.constants.ReceiverSettleMode.PeekLock,
    )  # fmt: skip
    seen = []
    try:
        while len(seen) < 4:
            for message in client.receive_message_batch(max_batch_size=10, timeout=2000):
                body = b"".join(message.get_data())
                seen.append((body, message.annotations[b"iothub-deliverycount"]))
                if body == b"reject":
                    message.reject(condition=b"amqp:internal-error", description=b"no")
                elif body == b"release" and len(seen) < 4:
                    message.release()
                else:
                    message.accept()
        client.receive_message_batch(max_batch_size=1, timeout=500)
    finally:
        client.close()
    assert [body for body, _ in seen] == [b"accept", b"reject", b"release", b"release"]
    assert [count for _, count in seen] == [0, 0, 0, 1]


def test_amqp_053_amqp_054_proton_takes_a_command_with_each_type_as_promised(gateway, device):
    send_command(device, b"hello", message_id="c2d-1", correlation_id="c")
    message = gateway.identity(device).command()
    assert bytes(message.body) == b"hello"
    assert (message.id, message.correlation_id) == ("c2d-1", "c")
    assert message.address == f"/devices/{device.id}/messages/devicebound"
    assert message.properties == {"a": "b"}
    notes = message.annotations
    assert uuid.UUID(notes["x-opt-lock-token"])
    assert {plain_text(key) for key in notes} >= {"iothub-enqueuedtime", "iothub-deliverycount"}
    assert all(isinstance(key, symbol) for key in notes)


def test_amqp_058_a_command_that_was_not_settled_comes_again(hub, device):
    send_command(device, b"again")
    for _ in range(2):
        with Gateway(hub) as gateway:
            message = gateway.identity(device).command()
            assert bytes(message.body) == b"again"
            assert message.annotations["iothub-deliverycount"] == 0
    with Gateway(hub) as gateway:
        identity = gateway.identity(device)
        identity.command()
        identity.link("receiver", "messages/devicebound").accept()
    eventually(lambda: registry(hub).get_device(device.id).cloud_to_device_message_count == 0)
