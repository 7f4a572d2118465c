# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Services over AMQP: commands, what became of them, and the way from the hub's address to its events."""

import asyncio
import contextlib
import json
import time
import urllib.parse
import uuid

import pytest
import requests
import uamqp
from azure.iot.hub import IoTHubRegistryManager
from proton import (
    Message,
    SSLDomain,
    Timeout,
    byte,
    char,
    float32,
    int32,
    short,
    symbol,
    timestamp,
    ubyte,
    uint,
    ulong,
    ushort,
)
from proton.utils import BlockingConnection, LinkDetached

from support import mqtt, tokens
from support.devices import registry

FEEDBACK = "/messages/serviceBound/feedback"


@pytest.fixture(autouse=True)
def trust(hub, monkeypatch):
    """uamqp takes the authority from there."""
    monkeypatch.setenv("SSL_CERT_FILE", hub.ca_file)


def service_token(hub, tail: str = "", policy: str = "service", **options) -> str:
    return tokens.token(hub.host + tail, hub.key(policy), policy=policy, **options)


class Service:
    """A service on Qpid Proton that signs in by PLAIN with a token, as the SDK for C and the az CLI do."""

    def __init__(self, hub, password: str | None = None, user: str | None = None):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(hub.ca_file)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        self.connection = BlockingConnection(
            f"amqps://{hub.host}:{hub.port('amqps')}", timeout=20, ssl_domain=domain, allowed_mechs="PLAIN",
            user=user or f"service@sas.root.{hub.event_hub}", password=password or service_token(hub),
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.connection.close()

    def sender(self, address: str = "/messages/devicebound"):
        return self.connection.create_sender(address, name=str(uuid.uuid4()))

    def feedback(self, address: str = FEEDBACK, credit: int = 10):
        return self.connection.create_receiver(address, credit=credit, name=str(uuid.uuid4()))


def command(device, body: bytes = b"x", **fields) -> Message:
    to = fields.pop("to", f"/devices/{device.id}/messages/devicebound")
    fields.setdefault("id", str(uuid.uuid4()))
    return Message(body=body, address=to, inferred=True, **fields)


class Outcome:
    """Sends and tells the condition of the rejection, which Proton's blocking sender does not show."""

    def __init__(self, sender):
        self.sender = sender

    def of(self, message: Message) -> str | None:
        delivery = self.sender.link.send(message)
        self.sender.connection.wait(lambda: delivery.settled, timeout=20)
        error = delivery.remote.condition
        delivery.settle()
        if delivery.remote_state == delivery.REJECTED:
            assert error.description
            return error.name
        assert delivery.remote_state == delivery.ACCEPTED
        return None


@contextlib.contextmanager
def listening(device, count: int = 0):
    """A device on MQTT that has subscribed to its commands."""
    with device.sign_in(clean=True) as peer:
        peer.send(mqtt.subscribe(1, (f"devices/{device.id}/messages/devicebound/#", 1)))
        assert peer.receive()[0] == mqtt.SUBACK << 4
        yield peer


def take(peer) -> tuple[str, bytes]:
    """The next command: topic and body; acknowledged."""
    packet = peer.receive()
    assert packet[0] & 0xF0 == 0x30, packet.hex()
    place = 2
    while packet[place - 1] & 0x80:
        place += 1
    length = int.from_bytes(packet[place : place + 2], "big")
    topic = packet[place + 2 : place + 2 + length].decode()
    rest = packet[place + 2 + length :]
    peer.send(b"\x40\x02" + rest[:2])
    return topic, rest[2:]


def records(receiver, wanted: set[str], seconds: float = 20) -> dict[str, dict]:
    """The feedback records of some messages; batches are accepted, whoever sent what they tell of."""
    found, deadline = {}, time.monotonic() + seconds
    while wanted - found.keys() and time.monotonic() < deadline:
        with contextlib.suppress(Timeout):
            message = receiver.receive(timeout=1)
            receiver.accept()
            for record in json.loads(bytes(message.body)):
                if record["originalMessageId"] in wanted:
                    found[record["originalMessageId"]] = record
    return found


# The service SDK


@pytest.mark.parametrize("transport", [uamqp.TransportType.Amqp, uamqp.TransportType.AmqpOverWebsocket])
def test_the_service_sdk_sends_commands_in_order(device, transport):
    manager = IoTHubRegistryManager.from_connection_string(device.hub.service(), transport_type=transport)
    try:
        for n in range(5):
            manager.send_c2d_message(
                device.id, f"body {n}", {"contentType": "text/plain", "messageId": f"m-{n}", "key": "value"}
            )
    finally:
        manager.amqp_svc_client.disconnect_sync()
    with listening(device) as peer:
        taken = [take(peer) for _ in range(5)]
    assert [body for _, body in taken] == [b"body %d" % n for n in range(5)]
    for n, (topic, _) in enumerate(taken):
        bag = dict(urllib.parse.parse_qsl(topic.split("/devicebound/")[1]))
        assert bag["$.mid"] == f"m-{n}"
        assert bag["$.ct"] == "text/plain"
        assert bag["key"] == "value"
        assert bag["$.to"] == f"/devices/{device.id}/messages/devicebound"


def test_amqp_067_the_service_sdk_hears_of_an_unknown_device(hub):
    manager = registry(hub)
    with pytest.raises(Exception, match="not-found|C2D|failure"):
        manager.send_c2d_message("no-such-device", "x")
    manager.amqp_svc_client.disconnect_sync()


def test_uamqp_receives_feedback(device):
    hub, message_id = device.hub, str(uuid.uuid4())
    with Service(hub) as service:
        assert Outcome(service.sender()).of(command(device, id=message_id, properties={"iothub-ack": "full"})) is None
    with listening(device) as peer:
        take(peer)
    source = uamqp.address.Source(f"amqps://{hub.host}{FEEDBACK}")
    plain = uamqp.authentication.SASLPlain(
        hub.host, f"service@sas.root.{hub.event_hub}", service_token(hub), verify=hub.ca_file
    )
    client, found = uamqp.ReceiveClient(source, auth=plain, auto_complete=False), []
    try:
        for _ in range(20):
            for message in client.receive_message_batch(max_batch_size=1, timeout=1000):
                body = b"".join(message.get_data())
                message.accept()
                found += [record for record in json.loads(body) if record["originalMessageId"] == message_id]
            if found:
                break
    finally:
        client.close()
    assert [record["statusCode"] for record in found] == ["Success"]


# Commands


def test_amqp_005_messages_021_a_policy_and_a_token_open_service_links_without_put_token(device):
    with Service(device.hub) as service:
        assert Outcome(service.sender()).of(command(device, b"hello")) is None
        service.feedback()
    with listening(device) as peer:
        topic, body = take(peer)
    assert body == b"hello"
    assert "iothub-ack" not in topic or "iothub-ack=none" in topic


def test_amqp_007_a_token_narrowed_to_the_events_signs_in(hub):
    with Service(hub, service_token(hub, "/messages/events")) as service:
        with pytest.raises(LinkDetached) as refusal:
            service.feedback("messages/events/$management")
        assert refusal.value.condition == "amqp:link:redirect"
        with pytest.raises(LinkDetached) as refusal:
            service.sender()
        assert refusal.value.condition == "amqp:unauthorized-access"


@pytest.mark.parametrize("policy", ["device", "registryReadWrite"])
def test_a_policy_without_service_connect_sends_nothing(hub, policy):
    with Service(hub, service_token(hub, policy=policy), f"{policy}@sas.root.{hub.event_hub}") as service:
        with pytest.raises(LinkDetached) as refusal:
            service.sender()
        assert refusal.value.condition == "amqp:unauthorized-access"


@pytest.mark.parametrize(
    "case", [str, str.upper, lambda to: to.replace("devicebound", "deviceBound"), lambda to: to[1:]]
)
def test_amqp_068_each_spelling_of_to_reaches_the_device(device, case):
    to = "/devices/{}/messages/devicebound"
    with Service(device.hub) as service:
        assert Outcome(service.sender()).of(command(device, b"found", to=case(to).format(device.id))) is None
    with listening(device) as peer:
        assert take(peer)[1] == b"found"


@pytest.mark.parametrize("sign", "+#%=!$,")
def test_amqp_068_amqp_030_ids_come_raw_and_percent_encoded(hub, make, sign):
    device = make(f"a{sign}b")
    with Service(hub) as service:
        outcome = Outcome(service.sender())
        for form in (device.id, urllib.parse.quote(device.id, safe="")):
            to = f"/devices/{form}/messages/devicebound"
            assert outcome.of(command(device, form.encode(), to=to)) is None


def test_amqp_067_amqp_077_each_failure_has_its_condition_and_the_link_stays(device):
    with Service(device.hub) as service:
        outcome = Outcome(service.sender())
        assert outcome.of(command(device, to="/devices/no-such-device/messages/devicebound")) == "amqp:not-found"
        module = f"/devices/{device.id}/modules/m/messages/deviceBound"
        assert outcome.of(command(device, to=module)) == "amqp:not-found"
        assert outcome.of(command(device, to="nowhere")) == "com.microsoft:argument-error"
        assert outcome.of(command(device, b"x" * 70_000)) == "amqp:link:message-size-exceeded"
        assert outcome.of(command(device, expiry_time=1.0)) == "com.microsoft:argument-error"
        late = time.time() + 10 * 86_400
        assert outcome.of(command(device, expiry_time=late)) == "com.microsoft:argument-error"
        assert outcome.of(command(device, properties={"iothub-ack": "maybe"})) == "com.microsoft:argument-error"
        assert outcome.of(command(device)) is None


def test_amqp_059_messages_026_the_51st_pending_command_is_rejected(device):
    with Service(device.hub) as service:
        outcome = Outcome(service.sender())
        for _ in range(50):
            assert outcome.of(command(device)) is None
        assert outcome.of(command(device)) == "amqp:resource-limit-exceeded"
        assert outcome.of(command(device, to="/devices/no-such-device/messages/devicebound")) == "amqp:not-found"


def test_messages_011_a_command_of_64_kib_is_taken_and_a_larger_one_is_not(device):
    with Service(device.hub) as service:
        outcome = Outcome(service.sender())
        to = f"/devices/{device.id}/messages/devicebound"
        room = 65_536 - len(to) - 1
        assert outcome.of(command(device, b"x" * room, id="i")) is None
        assert outcome.of(command(device, b"x" * (room + 1), id="i")) == "amqp:link:message-size-exceeded"


def test_many_senders_share_the_queues(device):
    with Service(device.hub) as one, Service(device.hub) as two:
        senders = [one.sender(), one.sender(), two.sender()]
        for n in range(12):
            assert Outcome(senders[n % 3]).of(command(device, b"%d" % n)) is None
    with listening(device) as peer:
        assert [take(peer)[1] for _ in range(12)] == [b"%d" % n for n in range(12)]


# Feedback


def test_amqp_069_amqp_070_messages_034_full_acknowledgement_gives_a_record(device):
    message_id = str(uuid.uuid4())
    with Service(device.hub) as service:
        receiver = service.feedback()
        assert Outcome(service.sender()).of(command(device, id=message_id, properties={"iothub-ack": "full"})) is None
        with listening(device) as peer:
            topic, _ = take(peer)
        assert "iothub-ack=full" in topic
        deadline, mine = time.monotonic() + 20, None
        while mine is None and time.monotonic() < deadline:
            with contextlib.suppress(Timeout):
                message = receiver.receive(timeout=1)
                receiver.accept()
                found = [r for r in json.loads(bytes(message.body)) if r["originalMessageId"] == message_id]
                mine = found[0] if found else None
    assert mine is not None
    assert set(mine) == {
        "originalMessageId", "description", "deviceGenerationId", "deviceId", "enqueuedTimeUtc", "statusCode",
    }  # fmt: skip
    assert mine["statusCode"] == mine["description"] == "Success"
    assert mine["deviceId"] == device.id
    assert mine["deviceGenerationId"] == registry(device.hub).get_device(device.id).generation_id
    assert mine["enqueuedTimeUtc"].endswith("Z")
    assert isinstance(message.content_type, symbol)
    assert message.content_type == "application/vnd.microsoft.iothub.feedback.json"
    assert bytes(message.user_id) == device.hub.event_hub.encode()
    assert type(message.annotations[symbol("iothub-enqueuedtime")]) is timestamp


KINDS = ("none", "positive", "negative", "full")


def send_each_kind(outcome: Outcome, device, **fields) -> dict[str, str]:
    """Sends a command for each kind of acknowledgement, and gives their ids."""
    ids = {kind: str(uuid.uuid4()) for kind in KINDS}
    for kind, message_id in ids.items():
        assert outcome.of(command(device, id=message_id, properties={"iothub-ack": kind}, **fields)) is None
    return ids


def check_feedback(receiver, ids: dict[str, str], kinds: tuple[str, ...], status: str):
    """Whether the commands of some kinds are told of, with one status, and the others are not."""
    asked = {ids[kind] for kind in kinds}
    found = records(receiver, asked)
    assert {name: record["statusCode"] for name, record in found.items()} == dict.fromkeys(asked, status)
    assert {record["description"] for record in found.values()} == {status}
    assert records(receiver, set(ids.values()) - asked, 2.5) == {}


def test_messages_033_feedback_of_completed_commands_follows_what_was_asked_for(device):
    with Service(device.hub) as service:
        receiver = service.feedback()
        ids = send_each_kind(Outcome(service.sender()), device)
        with listening(device) as peer:
            for _ in KINDS:
                take(peer)
        check_feedback(receiver, ids, ("positive", "full"), "Success")


def test_messages_033_messages_027_feedback_of_expired_commands_follows_what_was_asked_for(device):
    with Service(device.hub) as service:
        receiver = service.feedback()
        ids = send_each_kind(Outcome(service.sender()), device, expiry_time=time.time() + 1.5)
        check_feedback(receiver, ids, ("negative", "full"), "Expired")
    with listening(device) as peer, pytest.raises(TimeoutError):
        peer.receive(timeout=1)


def test_messages_033_messages_029_feedback_of_purged_commands_follows_what_was_asked_for(device):
    hub = device.hub
    with Service(hub) as service:
        receiver = service.feedback()
        ids = send_each_kind(Outcome(service.sender()), device)
        answer = requests.delete(
            f"https://{hub.host}/devices/{device.id}/commands?api-version=2021-04-12", timeout=20, verify=hub.ca_file,
            headers={"Authorization": service_token(hub, policy="iothubowner")},
        )  # fmt: skip
        assert answer.json()["totalMessagesPurged"] == len(KINDS)
        check_feedback(receiver, ids, ("negative", "full"), "Purged")


def test_amqp_072_a_record_goes_to_one_of_two_receivers(device):
    wanted = {str(uuid.uuid4()) for _ in range(6)}
    with Service(device.hub) as one, Service(device.hub) as two:
        receivers = [one.feedback(credit=1), two.feedback("/messages/servicebound/feedback", credit=1)]
        outcome = Outcome(one.sender())
        for message_id in wanted:
            assert outcome.of(command(device, id=message_id, properties={"iothub-ack": "positive"})) is None
        with listening(device) as peer:
            for _ in wanted:
                take(peer)
        found = [records(receiver, wanted, 4) for receiver in receivers]
    assert found[0].keys() | found[1].keys() == wanted
    assert not found[0].keys() & found[1].keys()


def test_feedback_that_a_receiver_leaves_behind_comes_again(device):
    message_id = str(uuid.uuid4())
    with Service(device.hub) as service:
        message = command(device, id=message_id, properties={"iothub-ack": "full"})
        assert Outcome(service.sender()).of(message) is None
    with listening(device) as peer:
        take(peer)
    with Service(device.hub) as service:
        receiver, ids, deadline = service.feedback(credit=1), [], time.monotonic() + 20
        while message_id not in ids and time.monotonic() < deadline:
            # Held by a name: the body is a view of its memory.
            message = receiver.receive(timeout=20)
            ids = [record["originalMessageId"] for record in json.loads(bytes(message.body))]
            if message_id not in ids:
                receiver.accept()
    with Service(device.hub) as service:
        assert records(service.feedback(), {message_id}).keys() == {message_id}


def test_file_notifications_may_be_waited_for(hub):
    with Service(hub) as service:
        receiver = service.feedback("/messages/serviceBound/filenotifications")
        with pytest.raises(Timeout):
            receiver.receive(timeout=1)


# From the hub's address to its events


def test_amqp_073_uamqp_reads_every_part_of_the_redirect(hub):
    for rest in ("$management", "ConsumerGroups/$Default/Partitions/0"):
        plain = uamqp.authentication.SASLPlain(
            hub.host, f"service@sas.root.{hub.event_hub}", service_token(hub), verify=hub.ca_file
        )
        client = uamqp.ReceiveClient(f"amqps://{hub.host}/messages/events/{rest}", auth=plain)
        with pytest.raises(uamqp.errors.LinkRedirect) as redirect:
            client.receive_message_batch(max_batch_size=1, timeout=10_000)
        client.close()
        assert redirect.value.hostname == hub.host.encode()
        assert redirect.value.port == 5671
        assert redirect.value.address == f"amqps://{hub.host}:5671/{hub.event_hub}/{rest}".encode()


def test_amqp_076_event_hubs_060_event_hubs_061_the_way_of_az_iot_hub_monitor_events(device):
    """Redirect, management and four readers on one connection, by the calls that the az CLI's extension makes."""
    hub = device.hub
    start = int(time.time() * 1000) - 60_000
    with device.sign_in() as peer:
        peer.send(mqtt.publish(device.topic, b"monitored"))
        peer.receive()

    async def run() -> list:
        user = urllib.parse.quote(f"service@sas.root.{hub.event_hub}", safe="")
        endpoint = f"{user}:{urllib.parse.quote(service_token(hub), safe='')}@{hub.host}"
        source = uamqp.address.Source(f"amqps://{endpoint}/messages/events/$management")
        client = uamqp.ReceiveClientAsync(source, timeout=30_000, prefetch=1)
        await client.open_async()
        with pytest.raises(uamqp.errors.LinkRedirect) as caught:
            await client.receive_message_batch_async(max_batch_size=1)
        await client.close_async()
        address = caught.value.address.decode()
        path = address.replace("amqps://", "").split("/")[1]

        def authentication():
            return uamqp.authentication.SASTokenAsync.from_shared_access_key(
                f"sb://{caught.value.hostname.decode()}/{path}", "service", hub.key("service"), verify=hub.ca_file
            )

        client = uamqp.ReceiveClientAsync(address, auth=authentication(), timeout=30_000)
        await client.open_async()
        request = uamqp.Message(application_properties={"name": path})
        answer = await client.mgmt_request_async(
            request, b"READ", op_type=b"com.microsoft:eventhub", status_code_field=b"status-code",
            description_fields=b"status-description", timeout=30_000,
        )  # fmt: skip
        partitions = answer.get_data()[b"partition_ids"]
        await client.close_async()
        assert len(partitions) == 4
        found = []
        shared = authentication()
        async with uamqp.ConnectionAsync(hub.host, sasl=shared) as connection:

            async def monitor(partition: bytes):
                source = uamqp.address.Source(
                    f"amqps://{hub.host}/{path}/ConsumerGroups/$Default/Partitions/{partition.decode()}"
                )
                source.set_filter(f"amqp.annotation.x-opt-enqueuedtimeutc > {start}".encode())
                reader = uamqp.ReceiveClientAsync(source, auth=shared, timeout=10_000, prefetch=0)
                await reader.open_async(connection=connection)
                for message in await reader.receive_message_batch_async(max_batch_size=100):
                    if message.annotations[b"iothub-connection-device-id"] == device.id.encode():
                        found.append(b"".join(message.get_data()))
                await reader.close_async()

            await asyncio.gather(*(monitor(partition) for partition in partitions))
        return found

    assert asyncio.run(run()) == [b"monitored"]


def test_proton_encodes_each_type_and_the_hub_reads_it(device):
    """Application properties of every scalar type arrive as text; compounds are refused and harm nothing."""
    values = {
        "bool": (True, "true"), "ubyte": (ubyte(255), "255"), "ushort": (ushort(65535), "65535"),
        "uint": (uint(1 << 31), str(1 << 31)), "ulong": (ulong((1 << 64) - 1), str((1 << 64) - 1)),
        "byte": (byte(-128), "-128"), "short": (short(-32768), "-32768"), "int": (int32(-5), "-5"),
        "long": (-(1 << 62), str(-(1 << 62))), "float": (float32(1.5), "1.5"), "double": (-2.25, "-2.25"),
        "char": (char("ß"), "ß"), "timestamp": (timestamp(1_700_000_000_123), "2023-11-14T22:13:20.1230000Z"),
        "uuid": (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        "binary": (b"\x00\xff", "AP8="), "symbol": (symbol("s"), "s"),
        "string": ("ü" * 300, "ü" * 300), "null": (None, ""),
    }  # fmt: skip
    with Service(device.hub) as service:
        outcome = Outcome(service.sender())
        message = command(device, properties={name: value for name, (value, _) in values.items()})
        assert outcome.of(message) is None
        for compound in ([1, 2], {"a": [{"b": 1}]}):
            assert outcome.of(command(device, properties={"x": compound})) == "com.microsoft:argument-error"
    with listening(device) as peer:
        bag = dict(urllib.parse.parse_qsl(take(peer)[0].split("/devicebound/")[1], keep_blank_values=True))
    assert {name: bag[name] for name in values} == {name: text for name, (_, text) in values.items()}
