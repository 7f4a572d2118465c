# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""What readers see of messages that devices sent over AMQP, in whatever form."""

import uuid

import pytest
import uamqp
from proton import Message, SSLDomain, symbol, ulong
from proton.utils import BlockingConnection

from support.reading import read


def send(device, *messages: Message):
    """Sends as a device on Qpid Proton that signs in by PLAIN."""
    hub = device.hub
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(hub.ca_file)
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
    connection = BlockingConnection(
        f"amqps://{hub.host}:{hub.port('amqps')}", timeout=20, ssl_domain=domain, allowed_mechs="PLAIN",
        user=f"{device.id}@sas.{hub.event_hub}", password=device.token(),
    )  # fmt: skip
    sender = connection.create_sender(f"/devices/{device.id}/messages/events", name="telemetry")
    for message in messages:
        sender.send(message)
    connection.close()


def test_event_hubs_043_an_id_of_any_type_arrives_as_text(device):
    name, number = uuid.uuid4(), 1 << 40
    ids = {name: str(name), ulong(number): str(number), "an id": "an id"}
    send(device, *(Message(id=value, correlation_id=value, body=b"x", inferred=True) for value in ids))
    events = read(device.hub, 3, device=device.id, partition_id=device.partition)
    assert [event.message_id for event in events] == list(ids.values())
    assert [event.correlation_id for event in events] == list(ids.values())


def test_event_hubs_044_the_body_is_one_data_section_whatever_was_sent(device):
    hub = device.hub
    send(device, Message(body=b"data", inferred=True), Message(body="text"), Message(body=b"value", inferred=False))
    plain = uamqp.authentication.SASLPlain(
        hub.host, f"{device.id}@sas.{hub.event_hub}", device.token(), verify=hub.ca_file
    )
    sender = uamqp.SendClient(f"amqps://{hub.host}/devices/{device.id}/messages/events", auth=plain)
    sender.queue_message(uamqp.message.BatchMessage(data=[b"first", b"second"]))
    assert sender.send_all_messages() == [uamqp.constants.MessageState.SendComplete]
    # The reader joins the pieces of data sections, and fails on a body of another kind.
    events = read(hub, 5, device=device.id, partition_id=device.partition)
    assert [event.body for event in events] == [b"data", b"text", b"value", b"first", b"second"]


@pytest.mark.parametrize("kind", [str, symbol])
def test_content_type_and_encoding_may_be_strings_or_symbols(device, kind):
    message = Message(body=b"{}", inferred=True, content_type=kind("application/json"), content_encoding=kind("utf-8"))
    send(device, message)
    (event,) = read(device.hub, 1, device=device.id, partition_id=device.partition)
    assert (event.content_type, event.content_encoding) == ("application/json", "utf-8")
