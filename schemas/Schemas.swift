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
    ]

    /// Parameters of the methods, named as their files: `append.params`.
    package static let methods: [Method] = [
        ("append.params", PackageResources.append_params_json),
        ("append.many.params", PackageResources.append_many_params_json),
        ("consumer.ack.params", PackageResources.consumer_ack_params_json),
        ("consumer.claim.params", PackageResources.consumer_claim_params_json),
        ("consumer.create.params", PackageResources.consumer_create_params_json),
        ("consumer.delete.params", PackageResources.consumer_delete_params_json),
        ("consumer.extend.params", PackageResources.consumer_extend_params_json),
        ("consumer.nack.params", PackageResources.consumer_nack_params_json),
        ("consumer.replay_parked.params", PackageResources.consumer_replay_parked_params_json),
        ("consumer.status.params", PackageResources.consumer_status_params_json),
        ("lead.get.params", PackageResources.lead_get_params_json),
        ("lead.history.params", PackageResources.lead_history_params_json),
        ("log.credit.params", PackageResources.log_credit_params_json),
        ("log.read.params", PackageResources.log_read_params_json),
        ("log.subscribe.params", PackageResources.log_subscribe_params_json),
        ("log.unsubscribe.params", PackageResources.log_unsubscribe_params_json),
        ("projection.list.params", PackageResources.projection_list_params_json),
        ("projection.rebuild.params", PackageResources.projection_rebuild_params_json),
        ("queue.list.params", PackageResources.queue_list_params_json),
        ("report.attribution.params", PackageResources.report_attribution_params_json),
        ("report.funnel.params", PackageResources.report_funnel_params_json),
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
