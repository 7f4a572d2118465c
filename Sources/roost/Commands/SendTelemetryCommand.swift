// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import NIOCore

/// `roost send-telemetry`: a quick device.
struct SendTelemetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send-telemetry",
        abstract: "Sign in as a device over MQTT and send messages.",
        discussion: """
            A message counts as sent when the hub has stored it durably and said so. Without --body each message is a \
            small JSON object with a number and a temperature.
            """
    )

    @Option(
        name: .shortAndLong,
        help: .init("The device; not needed with the connection string of one.", valueName: "id")
    )
    var device: String?

    @Option(name: .shortAndLong, help: .init("How many messages.", valueName: "count"))
    var count = 1

    @Option(
        name: .shortAndLong,
        help: .init("Seconds between messages; 0 is as fast as it goes.", valueName: "seconds")
    )
    var interval = 1.0

    @Option(name: .shortAndLong, help: .init("What each message holds.", valueName: "text"))
    var body: String?

    @Option(name: .shortAndLong, help: .init("A property of each message; may be repeated.", valueName: "name=value"))
    var property: [String] = []

    @Option(name: .long, help: .init("The content type, else application/json when the body is the usual one."))
    var contentType: String?

    @Option(name: .long, help: .init("1: acknowledged by the hub. 0: not.", valueName: "0|1"))
    var qos = 1

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...100_000_000).contains(self.count) else { throw ValidationError("--count is 1 to 100000000.") }
        guard (0...86_400).contains(self.interval) else { throw ValidationError("--interval is 0 to 86400.") }
        guard (0...1).contains(self.qos) else { throw ValidationError("--qos is 0 or 1: a hub takes no other.") }
        try PropertyOption.check(self.property)
    }

    func run() async throws {
        try await reportingErrors {
            let target = try self.hub.resolve()
            let signIn = try await target.deviceSignIn(self.device)
            let client = try await DeviceClient.connect(signIn, to: target.address)
            let start = ContinuousClock.now
            let latency = try await self.send(with: client)
            let elapsed = start.duration(to: .now)
            await client.close()
            say(self.summary(deviceID: signIn.deviceID, elapsed: elapsed, latency: latency))
        }
    }

    /// Sends every message and waits for the last acknowledgement.
    private func send(with client: DeviceClient) async throws -> LatencyHistogram {
        let delivery: DeviceClient.Delivery = self.qos == 1 ? .acknowledged : .unacknowledged
        var latency = LatencyHistogram()
        var waiting = CircularBuffer<EventLoopFuture<Duration>>()
        for number in 1...self.count {
            // With a pause each message is waited for, so that a lost connection is noticed. Without one the connection's
            // window bounds what is under way, and this the memory of what waits for it.
            if waiting.count >= (self.interval > 0 ? 1 : 256), let first = waiting.popFirst() {
                latency.add(nanoseconds: try await first.get().nanoseconds)
            }
            let since = ContinuousClock.now
            let sent = client.enqueue(self.message(number: number), delivery: delivery)
            waiting.append(sent.map { since.duration(to: .now) })
            if self.interval > 0, number < self.count {
                try await Task.sleep(for: .seconds(self.interval))
            }
        }
        while let first = waiting.popFirst() {
            latency.add(nanoseconds: try await first.get().nanoseconds)
        }
        return latency
    }

    /// The message with that number.
    func message(number: Int) -> DeviceMessage {
        var message = Self.message(properties: self.property)
        guard let body else {
            let temperature = 20 + Double(number % 50) / 10
            let text = #"{"number":\#(number),"temperature":\#(fixed(temperature, digits: 1))}"#
            message.body = ByteBuffer(string: text)
            // Both are needed for readers and routes to take the body for JSON.
            message.contentType = self.contentType ?? "application/json"
            message.contentEncoding = "utf-8"
            return message
        }
        message.body = ByteBuffer(string: body)
        message.contentType = self.contentType
        message.contentEncoding = self.contentType == nil ? nil : "utf-8"
        return message
    }

    /// An empty message with properties of the form `NAME=VALUE`.
    static func message(properties: [String]) -> DeviceMessage {
        let properties = properties.map { text in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return DeviceMessage.Property(name: String(parts[0]), value: parts.count > 1 ? String(parts[1]) : nil)
        }
        return DeviceMessage(body: ByteBuffer(), properties: properties)
    }

    private func summary(deviceID: String, elapsed: Duration, latency: LatencyHistogram) -> String {
        let seconds = Double(elapsed.nanoseconds) / 1e9
        let p50 = fixed(Double(latency.nanoseconds(at: 0.5)) / 1e6, digits: 2)
        let p99 = fixed(Double(latency.nanoseconds(at: 0.99)) / 1e6, digits: 2)
        if self.output.json {
            return """
                {"deviceId":\(jsonText(deviceID)),"sent":\(self.count),"seconds":\(fixed(seconds, digits: 3)),\
                "acknowledged":\(self.qos == 1),"p50Milliseconds":\(p50),"p99Milliseconds":\(p99)}
                """
        }
        let messages = "\(grouped(self.count)) \(self.count == 1 ? "message" : "messages")"
        let how = self.qos == 1 ? "stored durably after p50 \(p50) ms, p99 \(p99) ms" : "not acknowledged (QoS 0)"
        return "sent \(messages) as \(printable(deviceID)) in \(fixed(seconds, digits: 2)) s, \(how)"
    }
}

extension Duration {
    /// Whole nanoseconds, 0 for what is negative.
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = self.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}
