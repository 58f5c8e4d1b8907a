import JSON

/// The methods of the wire. This table drives the dispatcher, the command line and the docs; `schemas/methods` has the
/// parameters of each.
package enum Method: UInt8, CaseIterable, Sendable {
    // The most frequent first: a name is looked for in this order.
    case append
    case appendMany
    case leadGet
    case leadHistory
    case logRead
    case logCredit
    case logSubscribe
    case logUnsubscribe
    case consumerClaim
    case consumerAck
    case consumerNack
    case consumerExtend
    case consumerCreate
    case consumerDelete
    case consumerReplayParked
    case consumerStatus
    case queueList
    case queueClaim
    case queueHeartbeat
    case queueTake
    case queueRelease
    case queuePeek
    case queueRoute
    case queueAssign
    case leadExplain
    case policyPublish
    case policyApprove
    case policyActivate
    case policyRollback
    case policyHistory
    case policyShow
    case memberPause
    case memberResume
    case memberLeave
    case memberReturn
    case memberList
    case clockPause
    case clockResume
    case reportFunnel
    case reportAttribution
    case reportResponse
    case reportLeaks
    case reportFairness
    case projectionList
    case projectionRebuild
    case status
    case schemaGet

    /// As it stands in a request.
    package var name: StaticString {
        switch self {
        case .append: "append"
        case .appendMany: "append.many"
        case .leadGet: "lead.get"
        case .leadHistory: "lead.history"
        case .logRead: "log.read"
        case .logCredit: "log.credit"
        case .logSubscribe: "log.subscribe"
        case .logUnsubscribe: "log.unsubscribe"
        case .consumerClaim: "consumer.claim"
        case .consumerAck: "consumer.ack"
        case .consumerNack: "consumer.nack"
        case .consumerExtend: "consumer.extend"
        case .consumerCreate: "consumer.create"
        case .consumerDelete: "consumer.delete"
        case .consumerReplayParked: "consumer.replay_parked"
        case .consumerStatus: "consumer.status"
        case .queueList: "queue.list"
        case .queueClaim: "queue.claim"
        case .queueHeartbeat: "queue.heartbeat"
        case .queueTake: "queue.take"
        case .queueRelease: "queue.release"
        case .queuePeek: "queue.peek"
        case .queueRoute: "queue.route"
        case .queueAssign: "queue.assign"
        case .leadExplain: "lead.explain"
        case .policyPublish: "policy.publish"
        case .policyApprove: "policy.approve"
        case .policyActivate: "policy.activate"
        case .policyRollback: "policy.rollback"
        case .policyHistory: "policy.history"
        case .policyShow: "policy.show"
        case .memberPause: "member.pause"
        case .memberResume: "member.resume"
        case .memberLeave: "member.leave"
        case .memberReturn: "member.return"
        case .memberList: "member.list"
        case .clockPause: "clock.pause"
        case .clockResume: "clock.resume"
        case .reportFunnel: "report.funnel"
        case .reportAttribution: "report.attribution"
        case .reportResponse: "report.response"
        case .reportLeaks: "report.leaks"
        case .reportFairness: "report.fairness"
        case .projectionList: "projection.list"
        case .projectionRebuild: "projection.rebuild"
        case .status: "status"
        case .schemaGet: "schema.get"
        }
    }

    /// Whether what waits of it is bounded elsewhere: a connection whose appends find no room in the appender's queue is not
    /// read any more.
    var isBoundedByQueue: Bool { self == .append || self == .appendMany }

    /// The method with this name, as decoded from a request.
    package init?(utf8 name: UnsafeRawBufferPointer) {
        var raw: UInt8 = 0
        while let method = Method(rawValue: raw) {
            if name.equals(method.name) {
                self = method
                return
            }
            raw += 1
        }
        return nil
    }
}

/// Notifications that a subscription sends.
package enum NotificationName {
    package static let logEvents: StaticString = "log.events"
    package static let logCaughtUp: StaticString = "log.caught_up"
    package static let logFellBehind: StaticString = "log.fell_behind"
    package static let logHeartbeat: StaticString = "log.heartbeat"
    package static let logEnded: StaticString = "log.ended"
}
