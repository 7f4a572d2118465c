# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Requests on $cbs and $management, and the links they open, with Proton's blocking client."""

import contextlib
import time
import uuid

import pytest
from proton import Array, Data, Message, SSLDomain, Timeout, int32, symbol, timestamp, ulong
from proton.utils import BlockingConnection, LinkDetached

from support import mqtt, tokens

SAS_TYPE = "servicebus.windows.net:sastoken"


class Session:
    """A connection that signed in as nobody and presents tokens."""

    def __init__(self, hub, *, plain: bool = False, mechanism: str = "ANONYMOUS"):
        self.hub = hub
        domain = None
        if not plain:
            domain = SSLDomain(SSLDomain.MODE_CLIENT)
            domain.set_trusted_ca_db(hub.ca_file)
            domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        url = f"amqp://{hub.host}:{hub.port('amqp')}" if plain else f"amqps://{hub.host}:{hub.port('amqps')}"
        self.connection = BlockingConnection(url, timeout=20, ssl_domain=domain, allowed_mechs=mechanism)
        self.links = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.connection.close()

    def request(self, node: str, properties: dict, body=None, message_id=None, reply_to: str | None = None) -> Message:
        if node not in self.links:
            receiver = self.connection.create_receiver(node, credit=10, name=f"{node}-in")
            self.links[node] = (self.connection.create_sender(node, name=f"{node}-out"), receiver)
        sender, receiver = self.links[node]
        message = Message(id=ulong(1) if message_id is None else message_id, properties=properties, body=body)
        if reply_to:
            message.reply_to = reply_to
        sender.send(message)
        return receive(receiver, 20)

    def put_token(self, token: str, name: str = "", kind: str = SAS_TYPE, message_id=None) -> Message:
        return self.request("$cbs", {"operation": "put-token", "type": kind, "name": name}, token, message_id)

    def sign_in(self, resource: str | None = None, policy: str = "service", **options) -> Message:
        return self.put_token(event_token(self.hub, resource, policy, **options))

    def receiver(self, partition: str = "0", group: str = "$Default"):
        return self.connection.create_receiver(
            f"{self.hub.event_hub}/ConsumerGroups/{group}/Partitions/{partition}", credit=10, name=str(uuid.uuid4())
        )


def receive(receiver, seconds: float) -> Message:
    message = receiver.receive(timeout=seconds)
    if receiver.fetcher.unsettled:
        receiver.accept()
    return message


def event_token(hub, resource: str | None = None, policy: str = "service", **options) -> str:
    resource = resource or f"sb://{hub.host}/{hub.event_hub}"
    return tokens.token(resource, hub.key(policy), policy=policy, raw_key=options.pop("raw_key", True), **options)


def status(answer: Message) -> int:
    assert type(answer.properties["status-code"]) is int32
    assert type(answer.properties["status-description"]) is str
    return answer.properties["status-code"]


# put-token


@pytest.mark.parametrize("message_id", [ulong(0), ulong(1), uuid.UUID(int=7), "a string"])
def test_amqp_035_amqp_037_security_023_the_answer_keeps_the_requests_id(hub, message_id):
    with Session(hub) as session:
        answer = session.put_token(event_token(hub), message_id=message_id)
    assert status(answer) == 200
    assert answer.correlation_id == message_id
    # This peer shows a ulong, and nothing else, as a plain number.
    assert isinstance(answer.correlation_id, int if isinstance(message_id, ulong) else type(message_id))


@pytest.mark.parametrize("kind", [SAS_TYPE, SAS_TYPE.upper()])
def test_amqp_038_security_024_security_025_type_in_any_letter_case_and_any_name(hub, kind):
    with Session(hub) as session:
        assert status(session.put_token(event_token(hub), name="whatever", kind=kind)) == 200
        session.receiver()


def test_event_hubs_005_amqp_040_a_forged_signature_is_401_and_opens_nothing(hub):
    with Session(hub) as session:
        forged = tokens.token(f"sb://{hub.host}/{hub.event_hub}", hub.key("device"), policy="service", raw_key=True)
        assert status(session.put_token(forged)) == 401
        with pytest.raises(LinkDetached) as refusal:
            session.receiver()
        assert refusal.value.condition == "amqp:unauthorized-access"


def test_event_hubs_007_an_expired_token_is_401(hub):
    with Session(hub) as session:
        assert status(session.sign_in(lifetime=-900)) == 401


@pytest.mark.parametrize("policy", ["device", "registryRead", "registryReadWrite"])
def test_event_hubs_003_a_policy_that_may_not_read_opens_nothing(hub, policy):
    with Session(hub) as session:
        answer = session.sign_in(policy=policy)
        if status(answer) == 200:
            with pytest.raises(LinkDetached):
                session.receiver()
        else:
            assert status(answer) == 401


@pytest.mark.parametrize(
    "body", ["", "SharedAccessSignature", "SharedAccessSignature sr=a&sig=b&se=c", "nonsense", "x" * 5000]
)
def test_a_malformed_token_is_refused_and_the_connection_stays(hub, body):
    with Session(hub) as session:
        assert status(session.put_token(body)) in (400, 401)
        assert status(session.sign_in()) == 200
        session.receiver()


@pytest.mark.parametrize("lower", ["%3a%2f%2f", None])
def test_event_hubs_006_escapes_in_either_case_verify(hub, lower):
    resource = f"sb://{hub.host}/{hub.event_hub}"
    encoded = resource.replace("://", lower).replace("/", "%2f") if lower else None
    with Session(hub) as session:
        assert status(session.sign_in(resource, encoded=encoded)) == 200
        session.receiver()


@pytest.mark.parametrize("form", ["sb://{}", "amqps://{}", "amqp://{}", "{}", "sb://{}:5671"])
@pytest.mark.parametrize("tail", ["", "/{}", "/{}/consumergroups/$Default"])
def test_event_hubs_008_event_hubs_009_each_form_of_the_audience_authorises_the_address(hub, form, tail):
    with Session(hub) as session:
        assert status(session.sign_in(form.format(hub.host) + tail.format(hub.event_hub))) == 200
        session.receiver()


def test_event_hubs_010_a_token_for_one_partition_does_not_open_another(hub):
    with Session(hub) as session:
        session.sign_in(f"sb://{hub.host}/{hub.event_hub}/ConsumerGroups/$Default/Partitions/0")
        session.receiver("0")
        with pytest.raises(LinkDetached) as refusal:
            session.receiver("1")
        assert refusal.value.condition == "amqp:unauthorized-access"


@pytest.mark.parametrize("mechanism", ["ANONYMOUS"])
def test_event_hubs_013_amqp_028_without_a_token_the_link_is_refused_and_the_connection_stays(hub, mechanism):
    with Session(hub, mechanism=mechanism) as session:
        with pytest.raises(LinkDetached) as refusal:
            session.receiver()
        assert refusal.value.condition == "amqp:unauthorized-access"
        assert status(session.sign_in()) == 200
        session.receiver()


def test_event_hubs_014_amqp_042_a_link_ends_with_its_token(hub):
    with Session(hub) as session:
        # Five minutes of skew are granted, so this one ends in about three seconds.
        assert status(session.sign_in(lifetime=-297)) == 200
        receiver = session.receiver("3")
        started = time.monotonic()
        with pytest.raises(LinkDetached) as refusal:
            drop(receiver, seconds=60)
        assert refusal.value.condition == "amqp:unauthorized-access"
        assert time.monotonic() - started > 1


def test_event_hubs_014_amqp_041_a_renewed_token_keeps_the_link(hub):
    with Session(hub) as session:
        assert status(session.sign_in(lifetime=-296)) == 200
        receiver = session.receiver("3")
        assert status(session.sign_in()) == 200
        drop(receiver, seconds=8)


def test_security_009_the_end_of_one_token_leaves_the_links_of_another(hub):
    place = f"sb://{hub.host}/{hub.event_hub}/ConsumerGroups/$Default/Partitions/"
    with Session(hub) as session:
        assert status(session.sign_in(place + "0", lifetime=-297)) == 200
        assert status(session.sign_in(place + "1")) == 200
        ending, staying = session.receiver("0"), session.receiver("1")
        with pytest.raises(LinkDetached) as refusal:
            drop(ending, seconds=60)
        assert refusal.value.condition == "amqp:unauthorized-access"
        drop(staying, seconds=2)


def drop(receiver, seconds: float):
    """Receives for some seconds and forgets what came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(Timeout):
            receive(receiver, 1)


def test_event_hubs_016_the_plain_listener_serves_the_same(hub):
    with Session(hub, plain=True) as session:
        assert status(session.sign_in()) == 200
        session.receiver()


def test_security_017_a_token_of_the_hubs_own_dialect_and_the_text_keyed_one_read(hub):
    for raw_key in (True, False):
        with Session(hub) as session:
            assert status(session.sign_in(raw_key=raw_key)) in (200, 401 if not raw_key else 200)


# $management


def management(session, **properties) -> Message:
    node = properties.pop("node", "$management")
    options = {name: properties.pop(name) for name in ("message_id", "reply_to", "body") if name in properties}
    return session.request(node, {"operation": "READ", **properties}, **options)


@pytest.fixture
def session(hub):
    with Session(hub) as session:
        assert status(session.sign_in()) == 200
        yield session


def test_event_hubs_017_the_hubs_properties_have_exactly_these_keys_and_types(hub, session):
    answer = management(session, type="com.microsoft:eventhub", name=hub.event_hub)
    assert status(answer) == 200
    body = answer.body
    assert set(body) == {"name", "type", "created_at", "partition_count", "partition_ids"}
    assert (body["name"], body["type"]) == (hub.event_hub, "com.microsoft:eventhub")
    assert type(body["created_at"]) is timestamp
    assert type(body["partition_count"]) is int32
    assert isinstance(body["partition_ids"], Array)
    assert body["partition_ids"].type == Data.STRING
    assert list(body["partition_ids"].elements) == ["0", "1", "2", "3"]


def test_event_hubs_018_a_partitions_properties_have_exactly_these_keys_and_types(hub, session):
    answer = management(session, type="com.microsoft:partition", name=hub.event_hub, partition="2")
    assert status(answer) == 200
    types = {name: type(value) for name, value in answer.body.items()}
    assert types == {
        "name": str, "type": str, "partition": str, "begin_sequence_number": int, "last_enqueued_sequence_number": int,
        "last_enqueued_offset": str, "last_enqueued_time_utc": timestamp, "is_partition_empty": bool,
    }  # fmt: skip
    assert (answer.body["name"], answer.body["partition"]) == (hub.event_hub, "2")
    assert answer.body["type"] == "com.microsoft:partition"


@pytest.mark.parametrize("message_id", [ulong(0), ulong(1), uuid.UUID(int=7), "a string"])
def test_event_hubs_019_event_hubs_021_the_answer_keeps_id_and_has_an_int_status(hub, session, message_id):
    answer = management(session, type="com.microsoft:eventhub", name=hub.event_hub, message_id=message_id)
    assert status(answer) == 200
    assert answer.correlation_id == message_id
    # This peer shows a ulong, and nothing else, as a plain number.
    assert isinstance(answer.correlation_id, int if isinstance(message_id, ulong) else type(message_id))


def test_event_hubs_022_neither_token_nor_reply_to_nor_body_is_needed(hub, session):
    for extra in ({}, {"body": []}, {"reply_to": "somewhere"}, {"security_token": event_token(hub)}):
        assert status(management(session, type="com.microsoft:eventhub", name=hub.event_hub, **extra)) == 200


@pytest.mark.parametrize(
    "node", ["$management", "{hub}/$management", "/{hub}/$management", "amqps://{host}:5671/{hub}/$management"]
)
def test_event_hubs_023_each_address_of_the_management_node_answers(hub, session, node):
    node = node.format(hub=hub.event_hub, host=hub.host)
    assert status(management(session, node=node, type="com.microsoft:eventhub", name=hub.event_hub)) == 200


def test_event_hubs_024_unknown_names_are_404_with_the_text_that_sdks_look_for(hub, session):
    for name, partition in (("nobody", "0"), (hub.event_hub, "77"), (hub.event_hub, "x")):
        answer = management(session, type="com.microsoft:partition", name=name, partition=partition)
        assert status(answer) == 404
        assert "could not be found" in answer.properties["status-description"]
        assert answer.properties.get("error-condition") in (None, symbol("amqp:not-found"))


def test_management_without_a_token_says_nothing(hub):
    with Session(hub) as session, pytest.raises((LinkDetached, AssertionError)):
        assert status(management(session, type="com.microsoft:eventhub", name=hub.event_hub)) == 200


# Several links of one connection


def test_amqp_031_amqp_032_amqp_021_links_of_one_connection_read_side_by_side(device, hub):
    with device.sign_in() as peer:
        for n in range(1, 31):
            peer.send(mqtt.publish(device.topic, b"%d" % n, packet_id=n))
            peer.receive()
    with Session(hub) as session:
        session.sign_in()
        for _ in range(3):
            receivers = [session.receiver(device.partition) for _ in range(3)]
            for receiver in receivers:
                first = receive(receiver, 20)
                assert first.annotations[symbol("x-opt-sequence-number")] == 0
            for receiver in receivers:
                receiver.close()
