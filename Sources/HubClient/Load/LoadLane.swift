// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The devices of a load generator that live on one event loop, and their figures.
final class LoadLane {
    private let plan: LoadPlan
    private let connector: ClientChannel
    private let eventLoop: any EventLoop
    /// The numbers of the devices of this lane.
    private let numbers: [Int]
    /// How many of them may be connecting at once.
    private let connecting: Int
    private var opened = 0
    private var pending = 0
    private var connections: [LoadConnection] = []
    private var allTried: EventLoopPromise<Void>?
    private var ticking: RepeatedTask?
    private var nextSlot: UInt64 = 0
    private var turn = 0
    private var isStopping = false
    private var isMeasuring = false
    /// Whether devices publish whenever their windows have room.
    private(set) var isFlooding = false
    /// What happened so far.
    private(set) var figures = LoadFigures()

    init(plan: LoadPlan, connector: ClientChannel, lane: Int, eventLoop: any EventLoop) {
        self.plan = plan
        self.connector = connector
        self.eventLoop = eventLoop
        self.numbers = Array(stride(from: lane, to: plan.devices, by: plan.threads))
        self.connecting = max(1, plan.connecting / plan.threads)
    }

    /// Connects every device of the lane, some at a time.
    func connectAll() -> EventLoopFuture<Void> {
        let promise = self.eventLoop.makePromise(of: Void.self)
        self.allTried = promise
        self.connections.reserveCapacity(self.numbers.count)
        self.openMore()
        return promise.futureResult
    }

    private func openMore() {
        while self.pending < self.connecting, self.opened < self.numbers.count {
            let number = self.numbers[self.opened]
            self.opened += 1
            self.pending += 1
            do throws(HubClientError) {
                try self.open(number)
            } catch {
                self.failed(error, duringSignIn: true)
            }
        }
        guard self.pending == 0, self.opened == self.numbers.count else { return }
        self.allTried?.succeed()
        self.allTried = nil
    }

    private func open(_ number: Int) throws(HubClientError) {
        let id = "\(self.plan.prefix)\(number)"
        let signIn = DeviceSignIn(hostName: self.plan.address.bareHostName, deviceID: id, key: self.plan.key)
        let packet = try signIn.connectPacket(keepAliveSeconds: self.plan.keepAliveSeconds, tokenSeconds: 86_400)
        let template: LoadTemplate
        do {
            template = try LoadTemplate(
                topic: signIn.telemetryTopic + self.plan.propertyBag,
                isAcknowledged: self.plan.isAcknowledged,
                bodyBytes: self.plan.bodyBytes,
                capacity: self.plan.window
            )
        } catch {
            throw .protocolViolation("the properties are too long for a topic")
        }
        let loopBound = NIOLoopBound(self, eventLoop: self.eventLoop)
        let isAcknowledged = self.plan.isAcknowledged
        self.connector.connect(
            on: self.eventLoop,
            port: self.plan.address.mqttPort,
            from: LoadSource.address(number, of: self.plan.sourceAddresses)
        ) {
            channel in
            // One read for each wake and small buffers: what comes is PUBACKs, and the generator must be cheap.
            try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            try channel.syncOptions?.setOption(
                .recvAllocator,
                value: FixedSizeRecvByteBufferAllocator(capacity: 2048)
            )
            return LoadConnection(
                lane: loopBound.value,
                deviceID: id,
                connectPacket: packet,
                template: template,
                isAcknowledged: isAcknowledged
            )
        }.assumeIsolated().whenFailure { error in
            self.failed(self.failure(error), duringSignIn: true)
        }
    }

    func failure(_ error: any Error) -> HubClientError {
        .connecting(error, host: self.plan.address.dialHost, port: self.plan.address.mqttPort)
    }

    func signedIn(_ connection: LoadConnection) {
        self.figures.connected += 1
        self.connections.append(connection)
        self.pending -= 1
        self.openMore()
    }

    func failed(_ error: HubClientError, duringSignIn: Bool) {
        guard !self.isStopping else { return }
        self.figures.failed += 1
        self.figures.firstFailure = self.figures.firstFailure ?? error
        guard duringSignIn else { return }
        self.pending -= 1
        // Not at once: a hub that refuses everything would be a recursion as deep as there are devices.
        self.eventLoop.assumeIsolated().execute { self.openMore() }
    }

    func sent(_ count: Int) {
        self.figures.sent += UInt64(count)
    }

    /// Lets a connection count a run of acknowledgements, and their latencies if they are measured.
    func acknowledged(_ count: (inout LoadFigures, _ isMeasuring: Bool) -> Int) -> Int {
        count(&self.figures, self.isMeasuring)
    }

    /// Starts publishing, at the plan's rate or as the windows allow.
    func start() {
        guard let rate = self.plan.rate else {
            self.isFlooding = true
            for connection in self.connections {
                connection.fill()
            }
            return
        }
        let step = UInt64(1e9 * Double(self.plan.threads) / rate)
        self.nextSlot = NIODeadline.now().uptimeNanoseconds
        let loopBound = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.ticking = self.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(1)) { _ in
            loopBound.value.publishDue(step)
        }
    }

    /// Publishes what is due: each slot of time belongs to the next device, and is lost when its window is full.
    private func publishDue(_ step: UInt64) {
        guard !self.connections.isEmpty else { return }
        let now = NIODeadline.now().uptimeNanoseconds
        while self.nextSlot < now {
            self.turn = (self.turn + 1) % self.connections.count
            _ = self.connections[self.turn].publishOne()
            self.nextSlot += step
        }
    }

    /// Starts counting latencies.
    func measure() {
        self.isMeasuring = true
    }

    /// Publishes nothing more; what is under way is acknowledged.
    func pause() {
        self.isFlooding = false
        self.ticking?.cancel()
        self.isMeasuring = false
    }

    /// Closes every connection.
    func stop() {
        self.pause()
        self.isStopping = true
        for connection in self.connections {
            connection.stop()
        }
        self.connections.removeAll()
    }
}

@available(*, unavailable)
extension LoadLane: Sendable {}
