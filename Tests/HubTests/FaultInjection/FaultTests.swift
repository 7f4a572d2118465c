// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Testing

@testable import Hub

struct FaultTests {
    private func made(_ properties: [String: String], limits: FaultLimits = FaultLimits()) -> FaultPlan? {
        FaultPlan(limits: limits) { properties[$0] }
    }

    @Test func `a plan is read of the properties that the suites of SDKs send`() {
        let plan = made([
            "AzIoTHub_FaultOperationType": "KillTcp", "AzIoTHub_FaultOperationCloseReason": "Boom",
            "AzIoTHub_FaultOperationDelayInSecs": "5", "AzIoTHub_FaultOperationDurationInSecs": "0.5",
        ])
        #expect(plan?.kind == .killTCP)
        #expect(plan?.delayMilliseconds == 5000)
        #expect(plan?.durationMilliseconds == 500)
    }

    @Test func `every name of the suites is known and other names ask for nothing`() {
        let names = [
            "KillTcp", "KillAmqpConnection", "KillAmqpSession", "KillAmqpCBSLinkReq", "KillAmqpCBSLinkResp",
            "KillAmqpD2CLink", "KillAmqpC2DLink", "KillAmqpTwinLinkReq", "KillAmqpTwinLinkResp",
            "KillAmqpMethodReqLink", "KillAmqpMethodRespLink", "InvokeThrottling", "InvokeMaxMessageQuota",
            "InvokeAuthError", "ShutDownAmqp", "ShutDownMqtt",
        ]
        #expect(Set(names) == Set(FaultKind.allCases.map(\.rawValue)))
        for name in names { #expect(made([FaultPlan.typeProperty: name])?.kind.rawValue == name) }
        for name in ["", "killtcp", "KillTcp ", "Kill"] { #expect(made([FaultPlan.typeProperty: name]) == nil) }
        #expect(made([:]) == nil)
    }

    @Test(arguments: ["", "-1", "x", "nan", "-inf"])
    func `a time that is none is no time`(_ text: String) {
        let plan = made([FaultPlan.typeProperty: "KillTcp", FaultPlan.delayProperty: text])
        #expect(plan?.delayMilliseconds == 0)
        #expect(plan?.durationMilliseconds == 0)
    }

    @Test(arguments: ["3601", "1e300", "inf"])
    func `a time beyond the limit is the limit`(_ text: String) {
        let plan = made([FaultPlan.typeProperty: "KillTcp", FaultPlan.durationProperty: text])
        #expect(plan?.durationMilliseconds == 3_600_000)
    }

    @Test func `an identity is in its fault from the delay's end until the duration's and nobody else is`() throws {
        let board = FaultBoard(limits: FaultLimits())
        let id = IdentityID(device: "d1")
        let plan = try #require(
            made([
                FaultPlan.typeProperty: "InvokeThrottling", FaultPlan.delayProperty: "2",
                FaultPlan.durationProperty: "3",
            ])
        )
        board.request(plan, for: id, nowMilliseconds: 10_000)
        for (time, isIn) in [(11_999, false), (12_000, true), (14_999, true), (15_000, false), (14_000, false)] {
            // What is over is forgotten.
            #expect((board.fault(of: id, nowMilliseconds: Int64(time)) == .invokeThrottling) == isIn, "\(time)")
        }
        board.request(plan, for: id, nowMilliseconds: 10_000)
        #expect(board.fault(of: IdentityID(device: "d2"), nowMilliseconds: 13_000) == nil)
        #expect(board.fault(of: IdentityID(device: "d1", module: "m"), nowMilliseconds: 13_000) == nil)
    }

    @Test func `as many identities as the limit says are in faults and those whose time is over make room`() throws {
        var limits = FaultLimits()
        limits.identitiesMax = 2
        let board = FaultBoard(limits: limits)
        let plan = try #require(made([FaultPlan.typeProperty: "KillTcp", FaultPlan.durationProperty: "10"]))
        let ids = (1...3).map { IdentityID(device: "d\($0)") }
        for id in ids { board.request(plan, for: id, nowMilliseconds: 0) }
        #expect(ids.map { board.fault(of: $0, nowMilliseconds: 1) != nil } == [true, true, false])
        board.request(plan, for: ids[2], nowMilliseconds: 10_000)
        #expect(ids.map { board.fault(of: $0, nowMilliseconds: 10_001) != nil } == [false, false, true])
    }
}
