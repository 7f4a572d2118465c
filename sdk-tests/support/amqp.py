# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Devices over AMQP on stacks that know nothing of hubs: uamqp and Apache Qpid Proton."""

import datetime
import itertools
import json

import uamqp
from proton import Message, SSLDomain, int32, symbol
from proton.utils import BlockingConnection

_ids = itertools.count(1)


def uamqp_authentication(device, transport: uamqp.TransportType = uamqp.TransportType.Amqp, **options):
    """MSSBCBS and a put-token of the device's own token, over TLS or WebSockets."""
    return uamqp.authentication.SASTokenAuth(
        device.resource, f"amqps://{device.resource}", device.token(**options), expires_in=datetime.timedelta(hours=1),
        verify=device.hub.ca_file, transport_type=transport,
    )  # fmt: skip


class Gateway:
    """One Proton connection that any number of identities share."""

    def __init__(self, hub, **options):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(hub.ca_file)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        options = options or {"allowed_mechs": "ANONYMOUS"}
        self.connection = BlockingConnection(
            f"amqps://{hub.host}:{hub.port('amqps')}", timeout=20, ssl_domain=domain, heartbeat=10, **options
        )
        self.claims = None

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_):
        self.connection.close()

    def receiver(self, address: str, credit: int = 20, **options):
        return self.connection.create_receiver(address, credit=credit, name=f"receiver-{next(_ids)}", **options)

    def sender(self, address: str, **options):
        return self.connection.create_sender(address, name=f"sender-{next(_ids)}", **options)

    def put_token(self, device, token: str | None = None) -> int:
        """Puts the identity's token, and returns the status of the answer."""
        if self.claims is None:
            self.claims = self.receiver("$cbs"), self.sender("$cbs")
        receiver, sender = self.claims
        message_id = f"claim-{next(_ids)}"
        properties = {
            "operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": device.resource,
        }  # fmt: skip
        sender.send(Message(id=message_id, properties=properties, body=token or device.token()))
        answer = receiver.receive(timeout=20)
        assert answer.correlation_id == message_id
        assert type(answer.properties["status-code"]) is int32
        return answer.properties["status-code"]

    def identity(self, device) -> "Identity":
        assert self.put_token(device) == 200
        return Identity(self, device)


class Identity:
    """One device or module of a gateway; links are attached when they are first needed."""

    def __init__(self, gateway: Gateway, device):
        self.gateway, self.device = gateway, device
        self._links = {}

    def link(self, kind: str, purpose: str, **options):
        key = kind, purpose
        if key not in self._links:
            self._links[key] = getattr(self.gateway, kind)(f"{self.device.path}/{purpose}", **options)
        return self._links[key]

    def send(self, body: bytes, **fields):
        self.link("sender", "messages/events").send(Message(body=body, inferred=True, **fields))

    def twin(self, operation: str, body: bytes = b" ", **annotations) -> Message:
        receiver, sender = self.link("receiver", "twin"), self.link("sender", "twin")
        request = Message(
            body=body, inferred=True, correlation_id=f"twin-{next(_ids)}",
            annotations={symbol(name): value for name, value in {"operation": operation, **annotations}.items()},
        )  # fmt: skip
        sender.send(request)
        answer = receiver.receive(timeout=20)
        assert answer.correlation_id == request.correlation_id
        return answer

    def twin_document(self) -> dict:
        answer = self.twin("GET")
        assert answer.annotations["status"] == 200
        return json.loads(bytes(answer.body))

    def listen_for_methods(self):
        self.link("receiver", "methods/devicebound")
        self.link("sender", "methods/devicebound")

    def answer_method(self, status: int, body: bytes) -> Message:
        """Takes one call, answers it, and returns the call."""
        call = self.link("receiver", "methods/devicebound").receive(timeout=20)
        self.link("sender", "methods/devicebound").send(
            Message(
                correlation_id=call.correlation_id,
                properties={"IoThub-status": int32(status)},
                body=body,
                inferred=True,
            )
        )
        return call

    def command(self, timeout: float = 20) -> Message:
        return self.link("receiver", "messages/devicebound").receive(timeout=timeout)
