"""The retention schedule has every column with personal data: a column that is not listed here fails."""

from __future__ import annotations

import models
from services.operations.retention_schedule import build_schedule
from settings import Settings

#: Columns by the rule of the published schedule that says how long they are kept.
KEPT = {
    "account": {
        "users": "id email email_canonical password_hash role is_verified is_banned ban_reason banned_at banned_by"
        " suspended_until flagged_at pairing_held_until pairing_held_by age_band age_source age_declared_at"
        " accepted_versions deleted_at created_at updated_at",
        "profiles": "user_id username display_name avatar_url avatar_held_at avatar_reviewed_at"
        " avatar_review_note bio native_language english_level"
        " learning_goal country timezone shares_presence total_practice_mins total_sessions streak_days"
        " last_session_at last_active_at created_at updated_at",
        "blocks": "blocker_id blocked_id created_at",
        "lesson_progress": "id user_id lesson_id completed watch_seconds completed_at updated_at",
    },
    "partner_wishes": {"partner_wishes": "user_id wished_id created_at"},
    "appointments": {
        "appointments": "id proposer_id partner_id local_time timezone starts_at zone_version duration_minutes note"
        " state created_at answered_at day_reminded_at soon_reminded_at",
    },
    "invitations": {
        "invitations": "id inviter_id invitee_id inviter_socket topic state room_id created_at expires_at answered_at",
    },
    "consents": {"consents": "id user_id document version action at"},
    "age_refusals": {"age_refusals": "id expires_at"},
    "calls": {
        "call_sessions": "id room_id user_a_id user_b_id topic level waited_ms started_at connected_at ended_at"
        " duration_seconds ended_by origin user_a_outcome user_b_outcome created_at",
        "session_ratings": "id session_id rater_id rated_id stars pace is_pace_counted created_at",
    },
    "skill": {
        "learner_skills": "user_id mu sigma calls day day_mu day_sigma day_calls updated_at",
        "pairing_records": "user_id points points_at warned_at resting_until rests",
    },
    "reports": {
        "reports": "id reporter_id reported_id session_id reason description status admin_note actioned_at created_at"
        " is_urgent weight picture_weight rank has_block call_seconds call_days due_at overdue_at decided_at",
    },
    "report_traits": {"reports": "reporter_device reporter_network"},
    "sanctions": {
        "sanctions": "id user_id kind ground facts shows_facts starts_at ends_at appeal_until issued_by report_id"
        " lifted_at lifted_by lift_reason acknowledged_at",
        "appeals": "id sanction_id issued_by text status decided_at decided_by decision_reason created_at",
    },
    "barred_addresses": {"barred_identifiers": "id identifier_hash sanction_id until created_at"},
    "audit": {"audit_log": "number at actor_id action subject_id detail hash previous_hash erased_by"},
    "notifications": {
        "notifications": "id user_id type title body data occasion read sent_at read_at created_at",
    },
    "logins": {
        "refresh_tokens": "id user_id family_id token_hash device_id platform expires_at rotated_at child_nonce revoked"
        " revoked_at factor_proven_at created_at",
        "device_tokens": "id user_id family_id fcm_token device_id platform updated_at",
    },
    "login_methods": {
        "identities": "id user_id provider subject email grant_client_id grant_token last_used_at created_at",
        "passkeys": "id user_id credential_id public_key sign_count name aaguid is_synced last_used_at created_at",
    },
    "spent_tokens": {"spent_tokens": "id expires_at"},
    "second_factors": {
        "second_factors": "user_id secret last_step enrolled_at pending_secret pending_until created_at",
        "recovery_codes": "user_id code_hash used_at created_at",
    },
    "mailed_tokens": {
        "password_reset_tokens": "id user_id token_hash expires_at used created_at",
        "email_verification_tokens": "id user_id token_hash expires_at used created_at",
        "account_deletion_tokens": "id user_id token_hash expires_at used created_at",
        "appeal_tokens": "id user_id token_hash expires_at used created_at sanction_id source",
    },
    "email_codes": {
        "email_codes": "id purpose user_id email email_canonical code_hash tries expires_at used created_at",
    },
    "email_changes": {
        "email_changes": "id user_id old_email old_canonical new_email token_hash undo_until undone_at created_at",
    },
    "payments": {
        "orders": "id receipt_id user_id course_id course_title amount amount_refunded currency status disputed inquiry"
        " provider live provider_session_id checkout_url checkout_expires_at checkout_asked_at provider_payment_id"
        " paid_at created_at updated_at",
        "refunds": "id order_id provider provider_payment_id provider_refund_id amount currency status issued_here"
        " reason created_at updated_at",
        "disputes": "id order_id provider provider_payment_id provider_dispute_id amount currency status inquired"
        " charged_back refundable reason created_at updated_at",
        "enrollments": "id user_id course_id order_id enrolled_at",
        "payment_alerts": "id order_id kind reference detail created_at",
    },
    "payment_events": {
        "webhook_events": "id provider event_id type fact body received_at handled_at failures last_error set_aside_at",
    },
}
#: What the operator publishes and who of the staff made it; nothing of a learner.
CONTENT = {
    "courses": "id title slug description thumbnail_url price currency level is_published created_by created_at",
    "lessons": "id course_id title description video_url video_status video_progress video_source video_original"
    " video_error duration_secs order_index is_free created_at",
    "lesson_attachments": "id lesson_id name content_type size key created_at",
    "video_uploads": "id lesson_id created_by key attempt length received tags tail client_metadata writer created_at"
    " updated_at",
}


def test_schedule_has_every_column() -> None:
    listed = [
        f"{table}.{column}"
        for tables in (*KEPT.values(), CONTENT)
        for table, columns in tables.items()
        for column in columns.split()
    ]
    present = [f"{table.name}.{column.name}" for table in models.metadata.sorted_tables for column in table.columns]
    missing = set(present) - set(listed)
    assert not missing, f"say which rule of the retention schedule keeps {missing}, and erase them by it"
    assert sorted(listed) == sorted(present)


def test_schedule_has_no_rule_without_data(settings: Settings) -> None:
    # Jobs are rows of procrastinate, and logs are files.
    assert {rule.name for rule in build_schedule(settings)} == KEPT.keys() | {"jobs", "logs"}
