// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Why something asked of a hub did not happen; the description says what to do and is safe to print.
public enum HubClientError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No connection could be made.
    case unreachable(host: String, port: Int, reason: String)
    /// The server's certificate was not accepted, or the peer does not speak TLS.
    case tlsFailed(host: String, port: Int, reason: String)
    /// The file of certificate authorities could not be read.
    case unreadableAuthorities(file: String, reason: String)
    /// The key is not base64 text.
    case badKey
    /// The id of a device, a module or another thing is empty.
    case emptyID
    /// The hub refused the sign-in of a device: the code of its CONNACK.
    case signInRefused(deviceID: String, code: UInt8)
    /// The hub refused a subscription of a device.
    case subscriptionRefused(deviceID: String)
    /// The hub refused a request.
    case refused(HubRefusal)
    /// The hub refused a token or a link on AMQP.
    case amqpRefused(condition: String, description: String)
    /// Nothing came within the time allowed.
    case timedOut(waitingFor: String)
    /// The hub closed the connection.
    case closed(during: String)
    /// The peer sent what the protocol does not allow.
    case protocolViolation(String)

    /// Whether the hub did not accept who is asking.
    public var isDenial: Bool {
        switch self {
        case .signInRefused: true
        case .refused(let refusal): refusal.status == 401
        case .amqpRefused(let condition, _): ["status 401", "amqp:unauthorized-access"].contains(condition)
        default: false
        }
    }

    /// What happened and what to do about it.
    public var description: String {
        switch self {
        case .unreachable(let host, let port, let reason):
            "cannot connect to \(host):\(port) (\(reason)). Is the hub running there? Start it with 'roost serve', "
                + "or name another with --connection-string, --connect and the port options."
        case .tlsFailed(let host, let port, let reason):
            "TLS with \(host):\(port) failed (\(reason)). Give the hub's authority with --ca-file FILE, "
                + "and a host name that its certificate holds."
        case .unreadableAuthorities(let file, let reason):
            "cannot read the certificate authorities in \(file): \(reason)"
        case .badKey:
            "the key is not base64 text: copy the whole connection string, with the '=' at its end."
        case .emptyID:
            "an id is empty."
        case .signInRefused(let deviceID, let code):
            "the hub refused the sign-in of device '\(deviceID)' (CONNACK code \(code)). "
                + (code == 5
                    ? "See that it exists, is enabled and has this key: 'roost device show \(deviceID)'."
                    : "The hub may be busy: try again.")
        case .subscriptionRefused(let deviceID):
            "the hub refused a subscription of device '\(deviceID)'."
        case .refused(let refusal):
            refusal.description
        case .amqpRefused(let condition, let description):
            "the hub refused: \(description.isEmpty ? condition : "\(description) (\(condition))")"
                + (self.isDenial ? Self.rightsAdvice : "")
        case .timedOut(let what):
            "no answer from the hub while waiting for \(what)."
        case .closed(let during):
            "the hub closed the connection during \(during)."
        case .protocolViolation(let what):
            "the peer does not speak the protocol: \(what). Is this the right port?"
        }
    }
}

extension HubClientError {
    /// What to do where the hub did not accept who is asking.
    fileprivate static let rightsAdvice =
        ". See that the connection string is this hub's and that its policy has the right."
}

/// What the hub's HTTPS API answered instead of what was asked.
public struct HubRefusal: Hashable, Sendable, CustomStringConvertible {
    /// The HTTP status.
    public let status: UInt
    /// The name of the error, such as `DeviceNotFound`; empty when the answer has none.
    public let code: String
    /// The hub's own sentence.
    public let message: String

    /// The sentence for people, with what to do where that is known.
    public var description: String {
        let sentence = self.message.isEmpty ? "the hub answered with status \(self.status)" : self.message
        let name = self.code.isEmpty ? "status \(self.status)" : "\(self.code), status \(self.status)"
        return "\(sentence) (\(name))\(self.advice)"
    }

    private var advice: String {
        switch self.code {
        case "DeviceNotOnline":
            return ". It is not connected, or did not subscribe to methods: give it time with --connect-timeout."
        case "GatewayTimeout": return ". The device did not answer in time."
        case "ModuleNotFound": return ". 'roost module list DEVICE' shows what there is."
        case "ModuleAlreadyExistsOnDevice": return ". Choose another id."
        default: break
        }
        return switch self.status {
        case 401: HubClientError.rightsAdvice
        case 404: ". 'roost device list' shows what there is."
        case 409: ". Choose another id, or change the device with 'roost device update'."
        case 412: ". The device changed meanwhile: look at it again and repeat, or leave --if-match out."
        case 429: ". Wait a little and repeat."
        case 503: ". The hub cannot store anything at the moment: its log says why."
        default: ""
        }
    }
}
