// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

/// What `roost serve` and `roost init` tell at the start: where everything is, and how to use it.
struct Banner {
    let file: HubFile
    let dataDirectory: String
    /// Whether somebody chose the host name.
    let hostNameIsChosen: Bool

    /// The text, without the line that says that the hub is ready.
    func text(isServing: Bool) throws -> String {
        let service = try file.serviceConnectionString(policy: "iothubowner").text
        let events = try file.eventHubConnectionString(policy: "service").text
        var lines = ["roost \(RoostVersion.current)", ""]
        lines.append("  host       \(file.hostName)")
        if isServing { lines += ports }
        lines.append("  data       \(dataDirectory)")
        if let authority = file.authorityFile { lines.append("  CA file    \(authority)") }
        if !hostNameIsChosen {
            lines += [
                "",
                "  The C and Java SDKs do not accept localhost as host name, for they want a dot. Where they are used, and for",
                "  other machines, give the hub a name: roost serve --host-name hub1.example.org",
            ]
        }
        lines += ["", "Service connection string (policy iothubowner):", service, ""]
        lines += ["Event Hubs connection string (policy service):", events, ""]
        if isServing { lines += snippet(service: service) }
        return lines.joined(separator: "\n") + "\n"
    }

    private var ports: [String] {
        let ports = file.ports
        func list(_ pairs: [(String, Int?)]) -> String {
            pairs.compactMap { name, port in port.map { "\(name) \($0)" } }.joined(separator: ", ")
        }
        var lines = ["  TLS        " + list([("MQTT", ports.mqtts), ("AMQP", ports.amqps), ("HTTPS", ports.https)])]
        let plain = list([("MQTT", ports.mqtt), ("AMQP", ports.amqp), ("HTTP", ports.http)])
        if !plain.isEmpty { lines.append("  plain      " + plain) }
        if let metrics = ports.metrics {
            let address = file.metricsAddress ?? "127.0.0.1"
            let host = address.contains(":") ? "[\(address)]" : address
            lines.append("  metrics    http://\(host):\(metrics)/metrics")
        }
        return lines
    }

    /// A program that makes a device and sends a message as it; it works as often as it is pasted.
    private func snippet(service: String) -> [String] {
        guard file.ports.mqtts == 8883, file.ports.https != nil else {
            return [
                "The device SDKs for Python, C, C# and Java connect to port 8883 only: give --mqtts-port 8883 to use them.",
                "",
            ]
        }
        let authority = file.authorityFile
        var lines = ["Try it (pip install azure-iot-device azure-iot-hub six):", "", "import base64, os"]
        // The service SDK's HTTP library and its AMQP library each have a variable of their own.
        if let authority {
            lines.append("os.environ['REQUESTS_CA_BUNDLE'] = os.environ['SSL_CERT_FILE'] = '\(authority)'")
        }
        lines += [
            "from azure.iot.hub import IoTHubRegistryManager",
            "from azure.iot.device import IoTHubDeviceClient",
            "hub = IoTHubRegistryManager.from_connection_string('\(service)')",
            "name, keys = 'sim-' + os.urandom(3).hex(), [base64.b64encode(os.urandom(32)).decode() for _ in range(2)]",
            "hub.create_device_with_sas(name, keys[0], keys[1], 'enabled')",
            "device = IoTHubDeviceClient.create_from_connection_string(",
            "    f'HostName=\(file.hostName);DeviceId={name};SharedAccessKey={keys[0]}'"
                + (authority.map { ", server_verification_cert=open('\($0)').read())" } ?? ")"),
            "device.send_message('hello from ' + name)",
            "device.shutdown()",
            "",
        ]
        return lines
    }
}
