// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// What the hub can be asked to do wrong, by the names that the test suites of SDKs use.
public enum FaultKind: String, Sendable, Hashable, CaseIterable {
    /// The connection is cut.
    case killTCP = "KillTcp"
    /// The MQTT session ends.
    case shutDownMQTT = "ShutDownMqtt"
    /// The AMQP connection is closed in order.
    case shutDownAMQP = "ShutDownAmqp"
    /// The AMQP connection is closed with an error.
    case killAMQPConnection = "KillAmqpConnection"
    /// The session of the link that carried the message is ended.
    case killAMQPSession = "KillAmqpSession"
    /// The link that tokens come in by is detached.
    case killAMQPClaimsRequestLink = "KillAmqpCBSLinkReq"
    /// The link that answers to tokens leave by is detached.
    case killAMQPClaimsResponseLink = "KillAmqpCBSLinkResp"
    /// The link that telemetry comes in by is detached.
    case killAMQPTelemetryLink = "KillAmqpD2CLink"
    /// The link that commands leave by is detached.
    case killAMQPCommandLink = "KillAmqpC2DLink"
    /// The link that requests about the twin come in by is detached.
    case killAMQPTwinRequestLink = "KillAmqpTwinLinkReq"
    /// The link that answers about the twin leave by is detached.
    case killAMQPTwinResponseLink = "KillAmqpTwinLinkResp"
    /// The link that method calls leave by is detached.
    case killAMQPMethodRequestLink = "KillAmqpMethodReqLink"
    /// The link that answers to method calls come in by is detached.
    case killAMQPMethodResponseLink = "KillAmqpMethodRespLink"
    /// The identity is told that it asks too much.
    case invokeThrottling = "InvokeThrottling"
    /// The identity is told that the hub's daily quota is used up.
    case invokeMaxMessageQuota = "InvokeMaxMessageQuota"
    /// The identity is told that it may not.
    case invokeAuthError = "InvokeAuthError"
}

/// A fault that a message asks for: what, after how long, and for how long.
public struct FaultPlan: Sendable, Hashable {
    /// What is to go wrong.
    public var kind: FaultKind
    /// From the message to the begin of the fault, in milliseconds.
    public var delayMilliseconds: Int64
    /// From the begin of the fault to its end, in milliseconds.
    public var durationMilliseconds: Int64

    /// The application property that names the kind.
    public static let typeProperty = "AzIoTHub_FaultOperationType"
    /// The application property that gives the delay in seconds.
    public static let delayProperty = "AzIoTHub_FaultOperationDelayInSecs"
    /// The application property that gives the duration in seconds.
    public static let durationProperty = "AzIoTHub_FaultOperationDurationInSecs"

    /// Reads the application properties of a message; nil where it asks for no fault that the hub knows.
    ///
    /// Times that are missing or no numbers are 0: the fault comes at once, and ends at once.
    public init?(limits: FaultLimits, property: (_ name: String) -> String?) {
        guard let type = property(Self.typeProperty), let kind = FaultKind(rawValue: type) else { return nil }
        func milliseconds(_ name: String) -> Int64 {
            guard let seconds = property(name).flatMap({ Double($0) }), seconds > 0 else { return 0 }
            return Int64(min(seconds, Double(limits.secondsMax)) * 1000)
        }
        self.kind = kind
        self.delayMilliseconds = milliseconds(Self.delayProperty)
        self.durationMilliseconds = milliseconds(Self.durationProperty)
    }
}
