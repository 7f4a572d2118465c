# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""AMQP peers that know nothing of Event Hubs: uamqp's own receive client and Apache Qpid Proton."""

import pytest
import uamqp
from proton import Described, Message, SSLDomain, symbol, timestamp, ulong
from proton.handlers import MessagingHandler
from proton.reactor import Container, Filter, Selector

from support import mqtt

SELECTOR = "apache.org:selector-filter:string"


@pytest.fixture
def sent(device):
    """A device with five events of which the first has everything an event can carry."""
    bag = "%24.mid=m-1&%24.cid=c-1&%24.ct=application%2Fjson&%24.ce=utf-8&%24.uid=u&a=b&k%20ey=v%2Bw"
    with device.sign_in() as peer:
        peer.send(mqtt.publish(device.topic + bag, b'{"n":0}'))
        assert peer.receive() == b"\x40\x02\x00\x01"
        for n in range(1, 5):
            peer.send(mqtt.publish(device.topic, b"%d" % n, packet_id=n + 1))
            peer.receive()
    return device


def address(device, group: str = "$Default", partition: str | None = None) -> str:
    return f"{device.hub.event_hub}/ConsumerGroups/{group}/Partitions/{partition or device.partition}"


# uamqp


def uamqp_receive(device, selector: bytes | None = None, count: int = 5) -> list:
    hub = device.hub
    audience = f"sb://{hub.host}/{hub.event_hub}"
    authentication = uamqp.authentication.SASTokenAuth.from_shared_access_key(
        audience, "service", hub.key("service"), verify=hub.ca_file
    )
    source = uamqp.address.Source(f"amqps://{hub.host}/{address(device)}")
    if selector:
        source.set_filter(selector)
    found = []
    client = uamqp.ReceiveClient(source, auth=authentication, prefetch=50)
    try:
        for _ in range(20):
            for message in client.receive_message_batch(max_batch_size=50, timeout=500):
                if message.annotations[b"iothub-connection-device-id"] == device.id.encode():
                    found.append(message)
            if len(found) >= count:
                break
    finally:
        client.close()
    return found


def test_event_hubs_030_uamqp_receives_from_the_start(sent):
    messages = uamqp_receive(sent, b"amqp.annotation.x-opt-offset > '-1'")
    assert [b"".join(message.get_data()) for message in messages] == [b'{"n":0}', b"1", b"2", b"3", b"4"]
    first = messages[0]
    assert first.properties.message_id == b"m-1"
    assert first.properties.content_type == b"application/json"
    assert first.application_properties == {b"a": b"b", b"k ey": b"v+w"}


def test_uamqp_receives_from_the_start_without_a_filter(sent):
    assert len(uamqp_receive(sent)) == 5


@pytest.mark.parametrize("form", ["> '{}'", ">= '{}'", ">'{}'", "> {}", ">= {}", ">{}", '> "{}"'])
def test_event_hubs_028_event_hubs_031_a_value_quoted_or_not_with_blanks_or_not(sent, form):
    marks = [message.annotations[b"x-opt-sequence-number"] for message in uamqp_receive(sent)]
    selector = f"amqp.annotation.x-opt-sequence-number {form.format(marks[2])}"
    found = uamqp_receive(sent, selector.encode(), 3 if ">=" in form else 2)
    assert [m.annotations[b"x-opt-sequence-number"] for m in found] == marks[2 if ">=" in form else 3 :]


@pytest.mark.parametrize("name", ["x-opt-enqueued-time", "x-opt-enqueuedtimeutc"])
def test_event_hubs_029_both_names_of_the_time(sent, name):
    first = uamqp_receive(sent)[0].annotations[b"x-opt-enqueued-time"]
    found = uamqp_receive(sent, f"amqp.annotation.{name} >= {first}".encode())
    assert len(found) == 5


# Qpid Proton


class Reader(MessagingHandler):
    """Signs in by PLAIN with the policy's key, receives, and keeps what it saw."""

    def __init__(self, device, options=(), *, count=5, source=None, password=None, ready=None, seconds=20):
        super().__init__(prefetch=10)
        self.device, self.options, self.count, self.seconds = device, options, count, seconds
        self.source = source or address(device)
        self.password = password or device.hub.key("service")
        self.ready = ready
        self.messages, self.settled, self.condition, self.receiver = [], [], None, None

    def on_start(self, event):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(self.device.hub.ca_file)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        self.connection = event.container.connect(
            f"amqps://{self.device.hub.host}:{self.device.hub.port('amqps')}", ssl_domain=domain, user="service",
            password=self.password, allowed_mechs="PLAIN", reconnect=False, heartbeat=10,
        )  # fmt: skip
        self.timer = event.container.schedule(self.seconds, self)
        self.receiver = event.container.create_receiver(self.connection, self.source, options=list(self.options))

    def on_link_opened(self, event):
        if self.ready:
            self.ready()
            self.ready = None

    def on_message(self, event):
        if event.message.annotations[symbol("iothub-connection-device-id")] != self.device.id:
            return
        self.messages.append(event.message)
        self.settled.append(event.delivery.settled)
        if len(self.messages) == self.count:
            self.end()

    def on_link_error(self, event):
        self.condition = event.link.remote_condition
        self.end()

    def on_connection_error(self, event):
        self.condition = event.connection.remote_condition
        self.end()

    def on_transport_error(self, event):
        self.condition = event.transport.condition
        self.end()

    def on_timer_task(self, event):
        self.end()

    def end(self):
        self.timer.cancel()
        self.connection.close()


def proton_read(device, *options, **more) -> Reader:
    reader = Reader(device, options, **more)
    Container(reader).run()
    return reader


def test_event_hubs_011_event_hubs_034_event_hubs_042_proton_reads_each_type_as_promised(sent):
    reader = proton_read(sent)
    assert reader.condition is None, reader.condition
    assert len(reader.messages) == 5
    assert all(reader.settled)
    first = reader.messages[0]
    assert bytes(first.body) == b'{"n":0}'
    assert isinstance(first.body, bytes | memoryview)
    assert (first.id, first.correlation_id, bytes(first.user_id)) == ("m-1", "c-1", b"u")
    assert isinstance(first.content_type, symbol)
    assert isinstance(first.content_encoding, symbol)
    assert (first.content_type, first.content_encoding) == ("application/json", "utf-8")
    assert first.properties == {"a": "b", "k ey": "v+w"}
    assert not isinstance(first.properties["a"], symbol)
    for message in reader.messages:
        notes = message.annotations
        assert all(isinstance(key, symbol) for key in notes)
        assert type(notes["x-opt-sequence-number"]) is int
        assert type(notes["x-opt-offset"]) is str
        assert type(notes["x-opt-enqueued-time"]) is timestamp
        assert type(notes["iothub-enqueuedtime"]) is timestamp
        for key in (
            "iothub-connection-device-id", "iothub-connection-auth-method", "iothub-connection-auth-generation-id",
            "iothub-message-source",
        ):  # fmt: skip
            assert type(notes[key]) is str, key
        assert message.instructions is None
    # This peer shows an absent symbol as one that says None.
    assert reader.messages[1].content_type in (None, "None")
    assert reader.messages[1].properties is None


@pytest.mark.parametrize("key", [SELECTOR, "selector", "jms-selector"])
@pytest.mark.parametrize("descriptor", [symbol(SELECTOR), 0x137000000A, 0x468C00000004])
def test_event_hubs_027_each_descriptor_under_each_key_is_a_selector(sent, key, descriptor):
    if not isinstance(descriptor, symbol):
        descriptor = ulong(descriptor)
    mark = proton_read(sent).messages[2].annotations["x-opt-sequence-number"]
    text = f"amqp.annotation.x-opt-sequence-number > '{mark}'"
    found = proton_read(sent, Filter({symbol(key): Described(descriptor, text)}), count=2)
    assert [bytes(message.body) for message in found.messages] == [b"3", b"4"]


def test_event_hubs_027_protons_own_selector_option(sent):
    mark = proton_read(sent).messages[3].annotations["x-opt-offset"]
    found = proton_read(sent, Selector(f"amqp.annotation.x-opt-offset > '{mark}'"), count=1)
    assert [bytes(message.body) for message in found.messages] == [b"4"]


@pytest.mark.parametrize(
    "text",
    [
        "amqp.annotation.x-opt-offset > '5' OR 1=1",
        "amqp.annotation.x-opt-offset",
        "x = 1",
        "",
        "amqp.annotation.y > '1'",
    ],
)
def test_event_hubs_033_a_selector_that_is_not_understood_is_refused_whole(sent, text):
    reader = proton_read(sent, Selector(text))
    assert reader.messages == []
    assert reader.condition.name == "com.microsoft:argument-error"


def test_event_hubs_030_what_is_sent_right_after_the_attach_reply_is_after_the_end(sent):
    def send_one():
        with sent.sign_in() as peer:
            peer.send(mqtt.publish(sent.topic, b"after", packet_id=77))
            peer.receive()

    reader = proton_read(sent, Selector("amqp.annotation.x-opt-offset > '@latest'"), count=1, ready=send_one)
    assert [bytes(message.body) for message in reader.messages] == [b"after"]


@pytest.mark.parametrize("prefix", ["", "/", "amqps://{host}/", "amqps://{host}:5671/", "sb://{host}/"])
@pytest.mark.parametrize("group", ["$Default", "$default"])
def test_event_hubs_026_each_form_of_the_address_attaches(sent, prefix, group):
    source = prefix.format(host=sent.hub.host) + address(sent, group)
    reader = proton_read(sent, source=source)
    assert reader.condition is None
    assert len(reader.messages) == 5
    assert reader.receiver.remote_source.address == source


@pytest.mark.parametrize(
    "source",
    [
        "{hub}/ConsumerGroups/none/Partitions/0",
        "{hub}/ConsumerGroups/$Default/Partitions/4",
        "other/ConsumerGroups/$Default/Partitions/0",
    ],
)
def test_event_hubs_057_what_does_not_exist_is_refused_with_the_text_that_sdks_look_for(sent, source):
    reader = proton_read(sent, source=source.format(hub=sent.hub.event_hub))
    assert reader.condition.name == "amqp:not-found"
    assert "The messaging entity" in reader.condition.description
    assert "could not be found" in reader.condition.description


def test_event_hubs_012_security_027_a_wrong_key_ends_the_sign_in(sent):
    reader = proton_read(sent, password=sent.hub.key("device"))
    assert reader.messages == []
    assert reader.condition.name == "amqp:unauthorized-access"


@pytest.mark.parametrize("tail", ["", "/Partitions/0", "/Publishers/p"])
def test_event_hubs_059_nobody_sends_to_the_built_in_endpoint(sent, tail):
    class Sender(Reader):
        def on_start(self, event):
            super().on_start(event)
            event.container.create_sender(self.connection, sent.hub.event_hub + tail)

        def on_sendable(self, event):
            event.sender.send(Message(body=b"forged"))

    reader = Sender(sent, count=1000)
    Container(reader).run()
    assert reader.condition.name in ("amqp:unauthorized-access", "amqp:not-allowed")


def test_event_hubs_038_an_event_larger_than_a_frame_arrives_whole(device):
    body = bytes(range(256)) * 900
    with device.sign_in() as peer:
        peer.send(mqtt.publish(device.topic, body))
        peer.receive()

    class Small(Reader):
        def on_connection_bound(self, event):
            event.transport.max_frame_size = 4096

    reader = Small(device, count=1)
    Container(reader).run()
    assert bytes(reader.messages[0].body) == body
    assert reader.settled == [True]
