# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""Devices whose certificates come from a registered authority, and the registration of authorities."""

import itertools
import json
import os
import ssl
import subprocess

import pytest
import requests
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient
from azure.iot.device.exceptions import CredentialError

from support import mqtt, tokens
from support.certificates import Made, Maker
from support.devices import API_VERSION, partition, registry
from support.program import program
from support.reading import eventually, read

_numbers = itertools.count(1)


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path)


@pytest.fixture
def name():
    return f"signed-{os.getpid()}-{next(_numbers)}"


def call(hub, method, path, body=None, policy="iothubowner", **headers):
    return requests.request(
        method, f"https://{hub.host}/certificates{path}?api-version={API_VERSION}", json=body, verify=hub.ca_file,
        headers={"Authorization": tokens.token(hub.host, hub.key(policy), policy=policy), **headers}, timeout=20,
    )  # fmt: skip


def make_device(hub, device_id):
    return registry(hub).create_device_with_certificate_authority(device_id, "enabled")


def answer(hub, device_id, certificate, version=None) -> int:
    context = certificate.context(hub)
    if version:
        context.minimum_version = context.maximum_version = version
    with mqtt.Peer(hub, context=context) as peer:
        peer.send(mqtt.connect(device_id, f"{hub.host}/{device_id}/?api-version={API_VERSION}", None, clean=True))
        return peer.receive()[3]


def prove(hub, maker, name, root) -> requests.Response:
    asked = call(hub, "POST", f"/{name}/generateVerificationCode", **{"If-Match": "*"})
    code = asked.json()["properties"]["verificationCode"]
    proof = maker.make(code, issuer=root)
    return call(hub, "POST", f"/{name}/verify", {"certificate": proof.pem}, **{"If-Match": asked.json()["etag"]})


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_security_034_security_035_a_device_of_a_verified_authority_signs_in(hub, maker, name, depth, websockets):
    root = maker.make("Fleet root", authority=True)
    chain, issuer = (), root
    for level in range(depth):
        issuer = maker.make(f"Level {level}", issuer=issuer, authority=True)
        chain = (issuer, *chain)
    own = maker.make(name, issuer=issuer, chain=chain)
    make_device(hub, name)
    assert answer(hub, name, own) == 5, "the authority is not registered"
    made = call(hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem}})
    assert made.status_code == 201, made.text
    assert made.json()["properties"]["isVerified"] is False
    assert answer(hub, name, own) == 5, "the authority is not verified"
    proved = prove(hub, maker, name, root)
    assert proved.status_code == 200, proved.text
    assert proved.json()["properties"]["isVerified"] is True
    sender = IoTHubDeviceClient.create_from_x509_certificate(
        x509=own.for_sdk, hostname=hub.host, device_id=name, server_verification_cert=hub.ca_text,
        websockets=websockets, connection_retry=False,
    )  # fmt: skip
    sender.connect()
    sender.send_message("by certificate")
    assert sender.get_twin()["desired"] == {"$version": 1}
    sender.shutdown()
    (event,) = read(hub, device=name, partition_id=str(partition(name)))
    assert event.body == b"by certificate"
    assert json.loads(event.annotations["iothub-connection-auth-method"])["type"] == "x509"
    assert call(hub, "DELETE", f"/{name}").status_code == 204
    gone = call(hub, "GET", f"/{name}")
    assert gone.status_code == 404
    assert gone.headers["iothub-errorcode"] == "CertificateNotFound"


@pytest.mark.parametrize("websockets", [False, True])
def test_security_022_security_034_a_module_of_a_verified_authority_signs_in(hub, maker, name, websockets):
    root = maker.make("Fleet root", authority=True)
    assert call(hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    make_device(hub, name)
    registry(hub).create_module_with_certificate_authority(name, "m1", "")
    own = maker.make(f"{name}/m1", issuer=root)
    sender = IoTHubModuleClient.create_from_x509_certificate(
        x509=own.for_sdk, hostname=hub.host, device_id=name, module_id="m1", server_verification_cert=hub.ca_text,
        websockets=websockets, connection_retry=False,
    )  # fmt: skip
    sender.connect()
    sender.send_message("of a module")
    assert sender.get_twin()["desired"] == {"$version": 1}
    sender.shutdown()
    # Its device's certificate is another one.
    devices = maker.make(name, issuer=root)
    wrong = IoTHubModuleClient.create_from_x509_certificate(
        x509=devices.for_sdk, hostname=hub.host, device_id=name, module_id="m1",
        server_verification_cert=hub.ca_text, connection_retry=False,
    )  # fmt: skip
    with pytest.raises(CredentialError):
        wrong.connect()
    wrong.shutdown()
    call(hub, "DELETE", f"/{name}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_security_034_security_032_wrong_certificates_are_refused_at_sign_in(hub, maker, name, version):
    root, stranger = maker.make("Same name", authority=True), maker.make("Same name", authority=True)
    middle = maker.make("Middle", issuer=root, authority=True)
    assert call(hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    make_device(hub, name)
    wrong = {
        "another device's": maker.make(name + "x", issuer=root),
        "in capitals": maker.make(name.upper(), issuer=root),
        "of a stranger": maker.make(name, issuer=stranger),
        "of a stranger, with chain": maker.make(name, issuer=stranger, chain=(stranger,)),
        "without its chain": maker.make(name, issuer=middle),
        "self-signed": maker.make(name),
        "for servers": maker.make(name, issuer=root, extensions=("extendedKeyUsage=serverAuth",)),
    }
    assert answer(hub, name, maker.make(name, issuer=root), version) == 0
    assert answer(hub, name, maker.make(name, issuer=middle, chain=(middle,)), version) == 0
    for what, certificate in wrong.items():
        assert answer(hub, name, certificate, version) == 5, what
    call(hub, "DELETE", f"/{name}")


def test_security_035_what_proves_nothing(hub, maker, name):
    root, stranger = maker.make("Root", authority=True), maker.make("Root", authority=True)
    assert call(hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem}}).ok
    asked = call(hub, "POST", f"/{name}/generateVerificationCode").json()
    code = asked["properties"]["verificationCode"]
    for proof in (maker.make("wrong", issuer=root), maker.make(code, issuer=stranger), maker.make(code)):
        assert call(hub, "POST", f"/{name}/verify", {"certificate": proof.pem}).status_code == 400
    good = {"certificate": maker.make(code, issuer=root).pem}
    stale = call(hub, "POST", f"/{name}/verify", good, **{"If-Match": '"stale"'})
    assert stale.status_code == 412
    assert call(hub, "POST", f"/{name}/verify", good, **{"If-Match": f'"{asked["etag"]}"'}).status_code == 200
    assert call(hub, "POST", f"/{name}/verify", good).status_code == 400, "a code is good for one proof"
    # Only who has all rights administers authorities, and the code is shown to him who asks for it only.
    for policy in ("service", "device", "registryReadWrite"):
        assert call(hub, "GET", "", policy=policy).status_code == 401
    assert "verificationCode" not in call(hub, "GET", f"/{name}").json()["properties"]
    assert call(hub, "DELETE", f"/{name}").status_code == 204
    assert call(hub, "GET", f"/{name}").status_code == 404


def test_security_036_skipping_the_proof_is_logged(hub, maker, name):
    root = maker.make("Root", authority=True)
    assert call(hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    (line,) = [each for each in hub.said().splitlines() if root.sha256 in each]
    assert name in line
    assert "without a proof" in line
    call(hub, "DELETE", f"/{name}")


def test_security_037_removing_an_authority_ends_its_devices_connections(hub, maker, name):
    roots = [maker.make(f"Root {n}", authority=True) for n in (1, 2)]
    for number, root in enumerate(roots):
        assert call(hub, "PUT", f"/{name}-{number}", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    peers = []
    for number, root in enumerate(roots):
        make_device(hub, f"{name}-{number}")
        own = maker.make(f"{name}-{number}", issuer=root)
        peer = mqtt.Peer(hub, context=own.context(hub))
        username = f"{hub.host}/{name}-{number}/?api-version={API_VERSION}"
        peer.send(mqtt.connect(f"{name}-{number}", username, None, clean=True))
        assert peer.receive()[3] == 0
        peers.append(peer)
    assert call(hub, "DELETE", f"/{name}-0").status_code == 204
    assert peers[0].is_closed(5)
    peers[1].send(b"\xc0\x00")
    assert peers[1].receive() == b"\xd0\x00"
    call(hub, "PUT", f"/{name}-1", {"properties": {"certificate": roots[1].pem, "isVerified": False}})
    assert peers[1].is_closed(5)
    call(hub, "DELETE", f"/{name}-1")


def test_a_resumed_tls_session_keeps_its_chain(hub, maker, name):
    root = maker.make("Root", authority=True)
    middle = maker.make("Middle", issuer=root, authority=True)
    assert call(hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    make_device(hub, name)
    context = maker.make(name, issuer=middle, chain=(middle,)).context(hub)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        with mqtt.Peer(hub, context=context, session=session) as peer:
            peer.send(mqtt.connect(name, f"{hub.host}/{name}/?api-version={API_VERSION}", None, clean=True))
            assert peer.receive()[3] == 0
            session, resumed = peer.socket.session, peer.socket.session_reused
    assert resumed
    call(hub, "DELETE", f"/{name}")


def test_strangers_do_not_push_out_what_a_resumed_session_needs(own_hub, maker, name):
    hub = own_hub
    hub.flags = (*hub.flags, "--set", "limits.rememberedChains=1")
    hub.start()
    root = maker.make("Root", authority=True)
    middle = maker.make("Middle", issuer=root, authority=True)
    assert call(hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    make_device(hub, name)

    def sign_in(certificate, context=None, session=None):
        context = context or certificate.context(hub)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with mqtt.Peer(hub, context=context, session=session) as peer:
            peer.send(mqtt.connect(name, f"{hub.host}/{name}/?api-version={API_VERSION}", None, clean=True))
            return peer.receive()[3], peer.socket.session, peer.socket.session_reused

    own = maker.make(name, issuer=middle, chain=(middle,))
    context = own.context(hub)
    code, session, _ = sign_in(own, context)
    assert code == 0
    for number in range(2):
        foreign = maker.make(f"Foreign {number}", authority=True)
        assert sign_in(maker.make(name, issuer=foreign, chain=(foreign,)))[0] == 5
    code, _, resumed = sign_in(own, context, session)
    assert resumed
    assert code == 0


def run(*arguments, check=True):
    done = subprocess.run([program(), "ca", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_the_commands_lead_from_nothing_to_a_device_that_signs_in(hub, tmp_path, name):
    root, middle, out = tmp_path / "root", tmp_path / "middle", tmp_path / "devices"
    run("create", "Fleet root", "--out", root)
    run("create", "Fleet site 1", "--out", middle, "--issuer", root, "--path-length", 0)
    issued = json.loads(run("issue", name, "--ca", middle, "--out", out, "--json").stdout)
    for file in (root / "ca.key", middle / "ca.key", out / f"{name}.key"):
        assert file.stat().st_mode & 0o777 == 0o600
    certificate = Made(out / f"{name}.pem", out / f"{name}.key")
    assert (issued["sha1"].lower(), issued["sha256"].lower()) == (certificate.sha1, certificate.sha256)
    # OpenSSL agrees.
    subprocess.run(
        ["openssl", "verify", "-CAfile", root / "ca.pem", "-untrusted", middle / "chain.pem", certificate.certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    assert run("verify", certificate.certificate, "--ca", root / "ca.pem", "--device", name).stdout == "good\n"
    assert (
        run("verify", certificate.certificate, "--ca", root / "ca.pem", "--device", "d2", check=False).returncode == 1
    )
    registered = run("register", name, "--certificate", root / "ca.pem", "--data", hub.data)
    assert registered.stdout == f"{name}: registered, not verified\n"
    make_device(hub, name)
    assert answer(hub, name, certificate) == 5
    proved = run("register", name, "--certificate", root / "ca.pem", "--key", root / "ca.key", "--data", hub.data)
    assert proved.stdout == f"{name}: verified\n"
    assert answer(hub, name, certificate) == 0
    assert name in run("list", "--data", hub.data).stdout
    # The proof by hand.
    run("register", f"{name}-2", "--certificate", middle / "ca.pem", "--data", hub.data)
    code = run("code", f"{name}-2", "--data", hub.data).stdout.strip()
    run("issue", code, "--ca", middle, "--out", out)
    assert "verified" in run("prove", f"{name}-2", "--proof", out / f"{code}.pem", "--data", hub.data).stdout
    run("remove", name, "--data", hub.data)
    assert answer(hub, name, certificate) == 0, "the intermediate authority still vouches for it"
    run("remove", f"{name}-2", "--data", hub.data)
    assert answer(hub, name, certificate) == 5
    assert run("create", "again", "--out", root, check=False).returncode == 1, "a key is never overwritten"


def test_authorities_survive_a_restart(own_hub, maker, name):
    own_hub.start()
    root = maker.make("Root", authority=True)
    assert call(own_hub, "PUT", f"/{name}", {"properties": {"certificate": root.pem, "isVerified": True}}).ok
    make_device(own_hub, name)
    own = maker.make(name, issuer=root)
    assert answer(own_hub, name, own) == 0
    own_hub.kill()
    own_hub.start()
    assert eventually(lambda: answer(own_hub, name, own) == 0)
