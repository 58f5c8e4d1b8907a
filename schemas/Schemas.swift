/// The texts of `schemas/`, embedded in the program: what the daemon checks is what these files say.
///
/// Every file has its line here, since the embedding offers no list; a test compares the lists with the directories.
package enum Schemas {
    package typealias Event = (name: String, version: UInt8, text: [UInt8])
    package typealias Method = (name: String, text: [UInt8])

    /// What surrounds the data of every event.
    package static let envelope: [UInt8] = PackageResources.envelope_json

    /// The data of each event type, by type and version. A type's versions stand in ascending order.
    package static let events: [Event] = [
        ("lead.captured", 1, PackageResources.lead_captured_v1_json),
        ("lead.touched", 1, PackageResources.lead_touched_v1_json),
        ("lead.noted", 1, PackageResources.lead_noted_v1_json),
        ("lead.enriched", 1, PackageResources.lead_enriched_v1_json),
        ("lead.marketing_qualified", 1, PackageResources.lead_marketing_qualified_v1_json),
        ("lead.offered", 1, PackageResources.lead_offered_v1_json),
        ("lead.accepted", 1, PackageResources.lead_accepted_v1_json),
        ("lead.rejected", 1, PackageResources.lead_rejected_v1_json),
        ("lead.queued", 1, PackageResources.lead_queued_v1_json),
        ("lead.assigned", 1, PackageResources.lead_assigned_v1_json),
        ("lead.released", 1, PackageResources.lead_released_v1_json),
        ("lead.contact_attempted", 1, PackageResources.lead_contact_attempted_v1_json),
        ("lead.contacted", 1, PackageResources.lead_contacted_v1_json),
        ("lead.qualified", 1, PackageResources.lead_qualified_v1_json),
        ("lead.opportunity_opened", 1, PackageResources.lead_opportunity_opened_v1_json),
        ("lead.won", 1, PackageResources.lead_won_v1_json),
        ("lead.won_revised", 1, PackageResources.lead_won_revised_v1_json),
        ("lead.lost", 1, PackageResources.lead_lost_v1_json),
        ("lead.disqualified", 1, PackageResources.lead_disqualified_v1_json),
        ("lead.recycled", 1, PackageResources.lead_recycled_v1_json),
        ("lead.reopened", 1, PackageResources.lead_reopened_v1_json),
        ("lead.claimed", 1, PackageResources.lead_claimed_v1_json),
        ("lead.lease_ended", 1, PackageResources.lead_lease_ended_v1_json),
        ("lead.escalated", 1, PackageResources.lead_escalated_v1_json),
        ("lead.inbox_alarmed", 1, PackageResources.lead_inbox_alarmed_v1_json),
        ("lead.clock_started", 1, PackageResources.lead_clock_started_v1_json),
        ("lead.clock_paused", 1, PackageResources.lead_clock_paused_v1_json),
        ("lead.clock_resumed", 1, PackageResources.lead_clock_resumed_v1_json),
        ("lead.clock_met", 1, PackageResources.lead_clock_met_v1_json),
        ("lead.clock_breached", 1, PackageResources.lead_clock_breached_v1_json),
        ("lead.clock_stopped", 1, PackageResources.lead_clock_stopped_v1_json),
        ("lead.clock_replaced", 1, PackageResources.lead_clock_replaced_v1_json),
        ("policy.part", 1, PackageResources.policy_part_v1_json),
        ("policy.published", 1, PackageResources.policy_published_v1_json),
        ("policy.approved", 1, PackageResources.policy_approved_v1_json),
        ("policy.activated", 1, PackageResources.policy_activated_v1_json),
        ("policy.rolled_back", 1, PackageResources.policy_rolled_back_v1_json),
        ("member.paused", 1, PackageResources.member_paused_v1_json),
        ("member.resumed", 1, PackageResources.member_resumed_v1_json),
        ("member.on_leave", 1, PackageResources.member_on_leave_v1_json),
        ("member.returned", 1, PackageResources.member_returned_v1_json),
        ("pool.decision_voided", 1, PackageResources.pool_decision_voided_v1_json),
    ]

    /// Parameters of the methods, named as their files: `append.params`.
    package static let methods: [Method] = [
        ("append.params", PackageResources.append_params_json),
        ("append.many.params", PackageResources.append_many_params_json),
        ("clock.pause.params", PackageResources.clock_pause_params_json),
        ("clock.resume.params", PackageResources.clock_resume_params_json),
        ("consumer.ack.params", PackageResources.consumer_ack_params_json),
        ("consumer.claim.params", PackageResources.consumer_claim_params_json),
        ("consumer.create.params", PackageResources.consumer_create_params_json),
        ("consumer.delete.params", PackageResources.consumer_delete_params_json),
        ("consumer.extend.params", PackageResources.consumer_extend_params_json),
        ("consumer.nack.params", PackageResources.consumer_nack_params_json),
        ("consumer.replay_parked.params", PackageResources.consumer_replay_parked_params_json),
        ("consumer.status.params", PackageResources.consumer_status_params_json),
        ("lead.explain.params", PackageResources.lead_explain_params_json),
        ("lead.get.params", PackageResources.lead_get_params_json),
        ("lead.history.params", PackageResources.lead_history_params_json),
        ("log.credit.params", PackageResources.log_credit_params_json),
        ("log.read.params", PackageResources.log_read_params_json),
        ("log.subscribe.params", PackageResources.log_subscribe_params_json),
        ("log.unsubscribe.params", PackageResources.log_unsubscribe_params_json),
        ("member.leave.params", PackageResources.member_leave_params_json),
        ("member.list.params", PackageResources.member_list_params_json),
        ("member.pause.params", PackageResources.member_pause_params_json),
        ("member.resume.params", PackageResources.member_resume_params_json),
        ("member.return.params", PackageResources.member_return_params_json),
        ("policy.activate.params", PackageResources.policy_activate_params_json),
        ("policy.approve.params", PackageResources.policy_approve_params_json),
        ("policy.history.params", PackageResources.policy_history_params_json),
        ("policy.publish.params", PackageResources.policy_publish_params_json),
        ("policy.rollback.params", PackageResources.policy_rollback_params_json),
        ("policy.show.params", PackageResources.policy_show_params_json),
        ("projection.list.params", PackageResources.projection_list_params_json),
        ("projection.rebuild.params", PackageResources.projection_rebuild_params_json),
        ("queue.assign.params", PackageResources.queue_assign_params_json),
        ("queue.claim.params", PackageResources.queue_claim_params_json),
        ("queue.heartbeat.params", PackageResources.queue_heartbeat_params_json),
        ("queue.list.params", PackageResources.queue_list_params_json),
        ("queue.peek.params", PackageResources.queue_peek_params_json),
        ("queue.release.params", PackageResources.queue_release_params_json),
        ("queue.route.params", PackageResources.queue_route_params_json),
        ("queue.take.params", PackageResources.queue_take_params_json),
        ("report.attribution.params", PackageResources.report_attribution_params_json),
        ("report.fairness.params", PackageResources.report_fairness_params_json),
        ("report.funnel.params", PackageResources.report_funnel_params_json),
        ("report.leaks.params", PackageResources.report_leaks_params_json),
        ("report.response.params", PackageResources.report_response_params_json),
        ("schema.get.params", PackageResources.schema_get_params_json),
        ("status.params", PackageResources.status_params_json),
    ]

    /// What a file that maps CSV rows to events may say.
    package static let mapping: [UInt8] = PackageResources.mapping_json

    /// The form of a rule set.
    package static let policy: [UInt8] = PackageResources.policy_schema_json

    /// Every error the daemon answers with: name, code, exit code, hint.
    package static let errors: [UInt8] = PackageResources.errors_json
}
