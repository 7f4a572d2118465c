# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Back ends of a test: the service SDK for requests and commands, and a receiver of feedback on Qpid Proton."""

import contextlib
import json
import time
import uuid

import requests
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from proton import Message, SSLDomain, Timeout
from proton.utils import BlockingConnection

from support import tokens
from support.devices import API_VERSION, registry


def desired(properties: dict) -> Twin:
    """A change of desired properties."""
    return Twin(properties=TwinProperties(desired=properties))


def call(hub, verb: str, path: str, **options) -> requests.Response:
    """A request as iothubowner, where the SDK hides what the test is about."""
    return requests.request(
        verb, f"https://{hub.host}{path}", params={"api-version": API_VERSION}, verify=hub.ca_file, timeout=60,
        headers={"Authorization": tokens.token(hub.host, hub.key("iothubowner"), policy="iothubowner")}, **options,
    )  # fmt: skip


class Service:
    """A back end by Microsoft's service SDK. Close it: a sender of commands keeps its connection."""

    def __init__(self, hub):
        self.hub, self.sdk = hub, registry(hub)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(Exception):
            self.sdk.amqp_svc_client.disconnect_sync()

    def send(self, device, body, *, ack: str | None = None, **properties) -> str:
        """Sends a command; returns its message id."""
        message_id = properties.setdefault("messageId", str(uuid.uuid4()))
        if ack:
            properties["iothub-ack"] = ack
        self.sdk.send_c2d_message(device.id, body, properties)
        return message_id

    def invoke(self, identity, name: str, payload=None, **timeouts):
        """Calls a method of a device or module; timeouts are response_timeout_in_seconds, connect_..."""
        request = CloudToDeviceMethod(method_name=name, payload=payload, **timeouts)
        if identity.module:
            return self.sdk.invoke_device_module_method(identity.id, identity.module, request)
        return self.sdk.invoke_device_method(identity.id, request)

    def update_twin(self, identity, properties: dict):
        if identity.module:
            return self.sdk.update_module_twin(identity.id, identity.module, desired(properties))
        return self.sdk.update_twin(identity.id, desired(properties))

    def twin(self, identity):
        if identity.module:
            return self.sdk.get_module_twin(identity.id, identity.module)
        return self.sdk.get_twin(identity.id)

    def pending(self, device) -> int:
        """How many commands wait for the device."""
        return self.sdk.get_device(device.id).cloud_to_device_message_count


def connection(hub, *, plain: bool = False) -> BlockingConnection:
    """A connection of a service on Qpid Proton, signed in as az does it; with TLS unless told otherwise."""
    options = {"allow_insecure_mechs": True}
    if not plain:
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(hub.ca_file)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        options = {"ssl_domain": domain}
    return BlockingConnection(
        f"amqp://{hub.host}:{hub.port('amqp')}" if plain else f"amqps://{hub.host}:{hub.port('amqps')}",
        timeout=20, allowed_mechs="PLAIN", user=f"service@sas.root.{hub.event_hub}",
        password=tokens.token(hub.host, hub.key("service"), policy="service"), **options,
    )  # fmt: skip


def command(device, body: bytes, message_id: str, ack: str = "full") -> Message:
    """A command as a service sends it over AMQP."""
    to = f"/devices/{device.id}/messages/devicebound"
    return Message(body=body, address=to, inferred=True, id=message_id, properties={"iothub-ack": ack})


class Feedback:
    """Receives feedback records from when it is entered; those of other tests, too, which it drops."""

    def __init__(self, hub):
        self.hub = hub
        self.records: dict[str, list[dict]] = {}

    def __enter__(self) -> "Feedback":
        self._connection = connection(self.hub)
        self._receiver = self._connection.create_receiver("/messages/servicebound/feedback", credit=20)
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self._connection.close()

    def wait(self, wanted, timeout: float = 30) -> dict[str, list[str]]:
        """The status words that came for each wanted message id, once each has one."""
        wanted, deadline = set(wanted), time.monotonic() + timeout
        while missing := wanted - self.records.keys():
            assert time.monotonic() < deadline, f"no feedback for {len(missing)} of {len(wanted)} in {timeout} s"
            with contextlib.suppress(Timeout):
                message = self._receiver.receive(timeout=1)
                for record in json.loads(bytes(message.body)):
                    self.records.setdefault(record["originalMessageId"], []).append(record)
                self._receiver.accept()
        return {each: [record["statusCode"] for record in self.records[each]] for each in wanted}
