# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Microsoft's device SDK in all its shapes behind one synchronous face, so that one test body runs with each."""

import asyncio
import dataclasses
import queue
import threading
import time

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.device.aio import IoTHubModuleClient as AsyncModuleClient
from azure.iot.device.exceptions import ConnectionDroppedError, NoConnectionError

from support.tokens import token


@dataclasses.dataclass(frozen=True)
class Shape:
    """How a client is made: by which of the SDK's classes, through which transport, with which proof."""

    asynchronous: bool = False
    websockets: bool = False
    sas_token: bool = False

    def __str__(self) -> str:
        return "-".join(
            [
                "async" if self.asynchronous else "sync",
                "websockets" if self.websockets else "mqtt",
                "token" if self.sas_token else "string",
            ]
        )


SHAPES = [Shape(a, w, t) for a in (False, True) for w in (False, True) for t in (False, True)]
# Enough where a test is about the hub and not about the client: both halves of the SDK, both transports.
TWO_SHAPES = [Shape(), Shape(asynchronous=True, websockets=True)]


def message(body, *, properties=None, **fields) -> Message:
    """A message of the device SDK with properties and any of its fields."""
    made = Message(body)
    for name, value in fields.items():
        setattr(made, name, value)
    made.custom_properties.update(properties or {})
    return made


class _Loop:
    """The event loop of all asynchronous clients of this process."""

    _loop = None

    @classmethod
    def run(cls, coroutine, timeout: float):
        if cls._loop is None:
            cls._loop = asyncio.new_event_loop()
            threading.Thread(target=cls._loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, cls._loop).result(timeout)


class Client:
    """A device or module client; `identity` is a Device or a Module of support.devices.

    What arrives is put into the queues `desired`, `commands` and `methods`, once `listen` asked for it, in an order
    that may not be the hub's; methods are answered by the function given to `listen`. Instead of that `receive` takes
    one command after the other.
    """

    def __init__(self, identity, shape: Shape = Shape(), *, host: str | None = None, **options):  # noqa: B008
        self.identity, self.shape = identity, shape
        host = host or identity.hub.host
        options = {"server_verification_cert": identity.hub.ca_text, "websockets": shape.websockets, **options}
        kind = (AsyncModuleClient, IoTHubModuleClient) if identity.module else (AsyncDeviceClient, IoTHubDeviceClient)
        made = kind[0] if shape.asynchronous else kind[1]
        if shape.sas_token:
            lifetime = options.pop("lifetime", 3600)
            given = token(identity.resource_at(host), identity.key, lifetime=lifetime)
            self.sdk = made.create_from_sastoken(given, **options)
        else:
            string = identity.connection_string.replace(f"HostName={identity.hub.host}", f"HostName={host}")
            self.sdk = made.create_from_connection_string(string, **options)
        self.desired, self.commands, self.methods = queue.Queue(), queue.Queue(), queue.Queue()

    def __enter__(self) -> "Client":
        self.connect()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Shuts the client down; in the instants after a cut it says that it is not connected, so again."""
        for _ in range(100):
            try:
                return self.call("shutdown")
            except (NoConnectionError, ConnectionDroppedError):
                time.sleep(0.05)
        return self.call("shutdown")

    def call(self, name: str, *arguments, timeout: float = 60):
        """Calls a function of the client and waits for its end."""
        function = getattr(self.sdk, name)
        if not self.shape.asynchronous:
            return function(*arguments)

        async def run():
            return await function(*arguments)

        return _Loop.run(run(), timeout)

    def connect(self):
        self.call("connect")

    def send(self, message, output: str | None = None):
        if output is None:
            self.call("send_message", message)
        else:
            self.call("send_message_to_output", message, output)

    def twin(self) -> dict:
        return self.call("get_twin")

    def report(self, patch: dict):
        self.call("patch_twin_reported_properties", patch)

    def listen(self, *what: str, answer=None):
        """Asks for what is named: desired, commands, methods. `answer(request)` gives a method's status and payload."""
        if "desired" in what:
            self.sdk.on_twin_desired_properties_patch_received = self._taking(self.desired)
        if "commands" in what:
            self.sdk.on_message_received = self._taking(self.commands)
        if "methods" in what:
            self.sdk.on_method_request_received = self._answering(answer)
        # The SDK subscribes when a handler is set; an answer to what follows comes after that.
        self.twin()

    def receive(self, timeout: float = 20):
        """The next command, by the SDK's call that waits for one; a client that has handlers can't make it.

        It keeps the order of the commands, and those that a kept session brings before the client asks for any. A
        handler is run on four threads, and what came before it was set is lost to it.
        """
        if self.shape.asynchronous:
            return self.call("receive_message", timeout=timeout)
        received = self.sdk.receive_message(timeout=timeout)
        if received is None:
            raise TimeoutError("no command came")
        return received

    def wait_for_desired(self, wanted: dict) -> list[dict]:
        """Takes desired notices until the wanted one; returns those before it.

        After it has connected again the SDK reads the twin, and hands out all of desired if its version is new to it.
        """
        before = []
        while (notice := self.desired.get(timeout=20)) != wanted:
            before.append(notice)
        return before

    def _taking(self, target: queue.Queue):
        if not self.shape.asynchronous:
            return target.put

        async def take(value):
            target.put(value)

        return take

    def _answering(self, answer):
        def response(request):
            self.methods.put(request)
            status, payload = answer(request)
            return None if status is None else MethodResponse.create_from_method_request(request, status, payload)

        def respond(request):
            if made := response(request):
                self.sdk.send_method_response(made)

        async def respond_async(request):
            # The answer may take its time, as a device may.
            if made := await asyncio.to_thread(response, request):
                await self.sdk.send_method_response(made)

        return respond_async if self.shape.asynchronous else respond
