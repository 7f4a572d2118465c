# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0

"""`roost serve` as a process: signals, ports, logs, certificates of one's own, mistakes in the configuration."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import time

import pytest
import requests

from support import tokens
from support.devices import make_device
from support.program import program
from support.reading import eventually

WITHOUT_PORT_443 = ("setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service")


def serve(*flags: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Runs a serve that is expected to end by itself."""
    return subprocess.run(
        [program(), "serve", *flags], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def leaf(hub) -> bytes:
    context = ssl.create_default_context(cafile=hub.ca_file)
    context.check_hostname = False
    raw = socket.create_connection((hub.host, hub.port("mqtts")), 10)
    with context.wrap_socket(raw) as connection:
        return connection.getpeercert(binary_form=True)


@pytest.mark.serial
def test_a_second_signal_stops_at_once(own_hub):
    own_hub.start()
    device = make_device(own_hub)

    def sign_ins() -> int:
        page = own_hub.get("/metrics")[1]
        return int(re.search(r'^roost_sign_ins_total\{protocol="http"\} (\d+)', page, re.MULTILINE)[1])

    before = sign_ins()
    # A call that waits for its device to connect keeps an orderly stop waiting until the drain time is over.
    context = ssl.create_default_context(cafile=own_hub.ca_file)
    raw = socket.create_connection((own_hub.host, own_hub.port("https")), 10)
    with context.wrap_socket(raw, server_hostname=own_hub.host) as caller:
        body = json.dumps({"methodName": "m", "connectTimeoutInSeconds": 300})
        credential = tokens.token(own_hub.host, own_hub.key("service"), policy="service")
        caller.sendall(
            f"POST /twins/{device.id}/methods?api-version=2021-04-12 HTTP/1.1\r\nHost: {own_hub.host}\r\n"
            f"Authorization: {credential}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        eventually(lambda: sign_ins() > before)
        own_hub.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in own_hub.said(), every=0.01)
        assert own_hub.process.poll() is None
        begin = time.monotonic()
        own_hub.process.send_signal(signal.SIGTERM)
        assert own_hub.process.wait(10) == 130
        assert time.monotonic() - begin < 3


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to take a permission away")
def test_where_443_is_not_permitted_https_is_on_8443_and_says_so(own_hub):
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 443:
        pytest.skip("everybody may bind 443 here")
    own_hub.wrap = WITHOUT_PORT_443 if os.geteuid() == 0 else ()
    own_hub.start()
    assert own_hub.port("https") == 8443
    assert "port 443" in own_hub.said()
    assert "ip_unprivileged_port_start" in own_hub.said()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs to take a permission away")
def test_a_chosen_port_that_is_not_permitted_is_one_line(tmp_path):
    command = [*WITHOUT_PORT_443, program(), "serve", "--data", tmp_path / "data", "--https-port", "444"]
    command += ["--mqtts-port", "0", "--amqps-port", "0", "--metrics-port", "0", "--listen-address", "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("roost: ")]
    assert len(errors) == 1
    assert "https: port 444" in errors[0]
    assert "--https-port" in errors[0]


def test_logs_for_machines_are_one_object_a_line_and_hold_no_keys(own_hub):
    own_hub.flags = ("--log-format", "json", "--log-level", "debug")
    own_hub.start()
    own_hub.stop()
    said = own_hub.said()
    banner_end = said.index("roost is ready")
    logged = [line for line in said.splitlines() if line.startswith("{")]
    assert {"local CA made", "stores closed"} <= {json.loads(line)["message"] for line in logged}
    for policy in own_hub.info["policies"]:
        assert policy["primaryKey"] not in said[banner_end:]
        assert all(policy["primaryKey"] not in line for line in logged)


def test_a_certificate_that_is_replaced_is_used_after_sighup_and_old_connections_stay(own_hub, tmp_path):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    own_hub.start()
    folder = own_hub.data / "tls"
    for source, target in (("server.pem", chain), ("server.key", key)):
        shutil.copy(folder / source, target)
    own_hub.stop()
    authority = own_hub.ca_file
    own_hub.flags = (
        "--certificate-file", str(chain), "--private-key-file", str(key), "--authority-file", authority,
        "--set", "tls.reloadSeconds=3600",
    )  # fmt: skip
    own_hub.start()
    before = leaf(own_hub)
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    with context.wrap_socket(socket.create_connection((own_hub.host, own_hub.port("https")), 10)) as old:
        other = tmp_path / "other"
        subprocess.run([program(), "init", "--data", other], check=True, capture_output=True, timeout=30)
        shutil.copy(other / "tls" / "server.key", key)
        shutil.copy(other / "tls" / "server.pem", chain)
        own_hub.info["authorityFile"] = str(other / "tls" / "ca.pem")
        own_hub.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while "certificate files taken up" not in own_hub.said():
            assert time.monotonic() < deadline, own_hub.said()
            time.sleep(0.01)
        assert leaf(own_hub) != before
        old.sendall(b"GET /devices/none?api-version=2021-04-12 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert old.recv(100).startswith(b"HTTP/1.1 401")


def test_mistakes_in_the_configuration_are_told_with_line_and_value_before_anything_is_made(tmp_path):
    file = tmp_path / "roost.yaml"
    file.write_text("listeners:\n  mqtts:\n    port: 99999\ndurabilty: os\n")
    done = serve("--config", str(file), "--data", str(tmp_path / "data"), environment={"ROOST_EVENT_LOOPS": "many"})
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f'roost: {file}:3: listeners.mqtts.port is "99999": it must be a whole number from 0 to 65535',
        f"roost: {file}:4: durabilty is no setting: did you mean durability?",
        'roost: environment variable ROOST_EVENT_LOOPS: eventLoops is "many": it must be a whole number from 0 to 256',
    ]
    assert not (tmp_path / "data").exists()


def test_the_printed_connection_string_names_a_port_that_sdks_do_not_expect(own_hub):
    own_hub.flags = ("--https-port", "0")
    own_hub.start()
    string = own_hub.run("connection-string", "service").strip()
    assert string.startswith(f"HostName={own_hub.host}:{own_hub.port('https')};")
    assert string in own_hub.said().splitlines()


def test_metrics_are_where_the_start_says(own_hub):
    own_hub.flags = ("--set", f"listeners.metrics.address={own_hub.host}")
    own_hub.start()
    (url,) = re.findall(r"metrics +(http://\S+)", own_hub.said())
    assert url == f"http://{own_hub.host}:{own_hub.port('metrics')}/metrics"
    assert "roost_info" in requests.get(url, timeout=20).text


def test_another_number_of_partitions_is_refused_with_the_way_out(own_hub):
    own_hub.flags = ("--partitions", "2")
    own_hub.start()
    own_hub.stop()
    done = serve("--data", str(own_hub.data), "--listen-address", own_hub.host, "--partitions", "3")
    assert done.returncode == 1
    assert "was made with 2 partitions, and 3 are asked for" in done.stderr


def test_policies_that_are_taken_out_of_a_stopped_hub_get_new_keys(own_hub):
    own_hub.start()
    device = make_device(own_hub)
    old = own_hub.key("iothubowner")
    own_hub.stop()
    # What docs/operating.md tells to do, by a library instead of the command.
    with contextlib.closing(sqlite3.connect(own_hub.data / "state.sqlite")) as database, database:
        database.execute("DELETE FROM policies")
    own_hub.start()

    def status(key: str) -> int:
        credential = tokens.token(own_hub.host, key, policy="iothubowner")
        return requests.get(
            f"https://{own_hub.host}/devices/{device.id}?api-version=2021-04-12",
            headers={"Authorization": credential}, verify=own_hub.ca_file, timeout=20,
        ).status_code  # fmt: skip

    assert status(old) == 401
    assert status(own_hub.key("iothubowner")) == 200


def test_a_backup_serves_the_same_devices(own_hub, tmp_path):
    own_hub.start()
    own_hub.run("device", "create", "kept")
    done = subprocess.run(
        [program(), "backup", "--data", own_hub.data, "--to", tmp_path / "copy"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "journal files" in done.stdout
    own_hub.stop()
    own_hub.data = tmp_path / "copy"
    own_hub.start()
    assert "kept" in own_hub.run("device", "list")
    own_hub.stop()
    assert "no damage" in own_hub.run("log", "check")
