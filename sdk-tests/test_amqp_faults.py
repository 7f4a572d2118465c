# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Faults that a device asks for over AMQP, on Qpid Proton."""

import contextlib
import time

import pytest
import uamqp
from proton import Message
from proton._exceptions import ConnectionException
from proton.utils import LinkDetached, SendException

from support.amqp import Gateway, uamqp_authentication
from support.devices import make_device
from support.reading import eventually, read

PREFIX = "AzIoTHub_FaultOperation"
ENDS = (LinkDetached, SendException, ConnectionException)


def ask(identity, kind, delay=0, duration=0):
    """Asks for a fault; the message is accepted."""
    fields = {"Type": kind, "CloseReason": "Boom", "DelayInSecs": delay, "DurationInSecs": duration}
    identity.send(b"fault", properties={PREFIX + name: value for name, value in fields.items()})


def ends(action) -> Exception:
    """What an action fails with, soon."""
    found = []

    def has_failed():
        try:
            action()
        except ENDS as error:
            found.append(error)
            return True
        return False

    eventually(has_failed, timeout=10)
    return found[0]


@pytest.mark.parametrize(
    ("kind", "condition"),
    [
        ("InvokeThrottling", "com.microsoft:device-container-throttled"),
        ("InvokeMaxMessageQuota", "amqp:resource-limit-exceeded"),
        ("InvokeAuthError", "amqp:unauthorized-access"),
    ],
)
def test_messages_are_refused_while_the_fault_lasts_and_the_link_stays(bench, faulty, kind, condition):
    with Gateway(bench) as gateway:
        identity, other = gateway.identity(faulty), gateway.identity(make_device(bench, "other"))
        identity.send(b"before")
        ask(identity, kind, duration=6)
        started = time.monotonic()
        sender = identity.link("sender", "messages/events")
        delivery = sender.link.send(Message(body=b"lost", inferred=True))
        gateway.connection.wait(lambda: delivery.remote_state, timeout=10)
        assert delivery.remote_state == delivery.REJECTED
        assert delivery.remote.condition.name == condition
        delivery.settle()
        other.send(b"of another device")

        def is_over():
            try:
                identity.send(b"after")
            except SendException:
                return False
            return True

        eventually(is_over, every=0.2)
        assert time.monotonic() - started >= 2
    events = read(bench, 3, device=faulty.id, partition_id=faulty.partition)
    assert [event.body for event in events] == [b"before", b"fault", b"after"]


@pytest.mark.parametrize("kind", ["KillTcp", "KillAmqpConnection", "ShutDownAmqp"])
def test_the_connection_ends_and_another_one_works(bench, faulty, kind):
    gateway = Gateway(bench)
    identity = gateway.identity(faulty)
    ask(identity, kind)
    ends(lambda: identity.send(b"more"))
    with Gateway(bench) as again:
        again.identity(faulty).send(b"after")


def test_the_link_of_telemetry_ends(bench, faulty):
    with Gateway(bench) as gateway:
        identity = gateway.identity(faulty)
        ask(identity, "KillAmqpD2CLink")
        ends(lambda: identity.send(b"more"))


def test_the_session_of_the_link_ends(bench, faulty):
    with Gateway(bench) as gateway:
        identity = gateway.identity(faulty)
        ask(identity, "KillAmqpSession")
        session = identity.link("sender", "messages/events").link.session
        gateway.connection.wait(lambda: session.state & session.REMOTE_CLOSED, timeout=10)


@pytest.mark.parametrize(
    ("kind", "role", "purpose"),
    [
        ("KillAmqpC2DLink", "receiver", "messages/devicebound"),
        ("KillAmqpTwinLinkReq", "sender", "twin"),
        ("KillAmqpTwinLinkResp", "receiver", "twin"),
        ("KillAmqpMethodReqLink", "receiver", "methods/devicebound"),
        ("KillAmqpMethodRespLink", "sender", "methods/devicebound"),
    ],
)
def test_one_link_ends_and_the_others_stay(bench, faulty, kind, role, purpose):
    with Gateway(bench) as gateway:
        identity = gateway.identity(faulty)
        links = {
            (each_role, each): identity.link(each_role, each)
            for each_role, each in [
                ("receiver", "messages/devicebound"), ("sender", "twin"), ("receiver", "twin"),
                ("receiver", "methods/devicebound"), ("sender", "methods/devicebound"),
            ]
        }  # fmt: skip
        ask(identity, kind)

        def closed():
            with contextlib.suppress(LinkDetached):
                identity.send(b"more")
            return [key for key, link in links.items() if link.link.state & link.link.REMOTE_CLOSED]

        assert eventually(closed) == [(role, purpose)]


@pytest.mark.parametrize(("kind", "ends_sender"), [("KillAmqpCBSLinkReq", True), ("KillAmqpCBSLinkResp", False)])
def test_a_link_of_tokens_ends_and_a_new_pair_renews(bench, faulty, kind, ends_sender):
    with Gateway(bench) as gateway:
        identity = gateway.identity(faulty)
        receiver, sender = (each.link for each in gateway.claims)
        gone, stays = (sender, receiver) if ends_sender else (receiver, sender)
        ask(identity, kind)
        with contextlib.suppress(LinkDetached):
            gateway.connection.wait(lambda: gone.state & gone.REMOTE_CLOSED, timeout=10)
        assert gone.remote_condition.name == "amqp:link:detach-forced"
        assert not stays.state & stays.REMOTE_CLOSED
        identity.send(b"after")
        gateway.claims = None
        assert gateway.put_token(faulty) == 200
        identity.send(b"renewed")


@pytest.mark.parametrize("kind", ["KillAmqpCBSLinkReq", "KillAmqpCBSLinkResp"])
def test_uamqp_goes_on_after_a_link_of_tokens_ended(bench, faulty, kind):
    """Its C library signs in again by itself or gives up; either way, the next client works."""
    address = f"amqps://{bench.host}/{faulty.path}/messages/events"
    properties = {PREFIX + "Type": kind, PREFIX + "DelayInSecs": "0", PREFIX + "DurationInSecs": "0"}
    first = uamqp.SendClient(address, auth=uamqp_authentication(faulty))
    first.queue_message(uamqp.Message(b"fault", application_properties=properties))
    assert first.send_all_messages(close_on_done=False) == [uamqp.constants.MessageState.SendComplete]
    eventually(lambda: f"fault that was asked for: {kind}" in bench.said())
    with contextlib.suppress(uamqp.errors.AMQPError):
        first.do_work()
    first.close()
    second = uamqp.SendClient(address, auth=uamqp_authentication(faulty))
    second.queue_message(uamqp.Message(b"after"))
    assert second.send_all_messages() == [uamqp.constants.MessageState.SendComplete]


def test_without_the_setting_it_is_a_message_like_any_other(hub, device):
    with Gateway(hub) as gateway:
        identity = gateway.identity(device)
        ask(identity, "KillTcp", duration=5)
        time.sleep(0.3)
        identity.send(b"more")
    events = read(hub, 2, device=device.id, partition_id=device.partition)
    assert events[0].properties[PREFIX + "Type"] == "KillTcp"
