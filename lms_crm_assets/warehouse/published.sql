-- What a reader of the published copy finds by plain names, in its schema `main`: a block a view. One whose table no run has
-- made yet is left out.
CREATE VIEW learners AS
    SELECT source_id AS learner_id, * EXCLUDE (source_id, row_hash) FROM staging.learner;
COMMENT ON VIEW learners IS 'Learners as the LMS has them, of rows that passed all checks.';

CREATE VIEW courses AS
    SELECT source_id AS course_id, * EXCLUDE (source_id, row_hash) FROM staging.course;
COMMENT ON VIEW courses IS 'Courses as the LMS has them, of rows that passed all checks.';

CREATE VIEW enrollments AS
    SELECT source_id AS enrollment_id, * EXCLUDE (source_id, row_hash) FROM staging.enrollment;
COMMENT ON VIEW enrollments IS 'Who is enrolled in which course; learner_id and course_id are those of learners and courses.';

CREATE VIEW completions AS
    SELECT source_id AS completion_id, * EXCLUDE (source_id, row_hash) FROM staging.completion;
COMMENT ON VIEW completions IS 'How far a learner came in a course: state, progress_pct (0 to 100), completed_at.';

CREATE VIEW scores AS
    SELECT source_id AS score_id, * EXCLUDE (source_id, row_hash) FROM staging.score;
COMMENT ON VIEW scores IS 'Scores of learners by course and item: raw between min and max, and pct (0 to 100).';

CREATE VIEW competencies AS
    SELECT source_id AS competency_id, * EXCLUDE (source_id, row_hash) FROM staging.learner_competency;
COMMENT ON VIEW competencies IS 'Competencies of learners, with their rating and whether they are proficient.';

CREATE VIEW crm_contacts AS SELECT * EXCLUDE (fingerprint) FROM crm_snapshot.contact;
COMMENT ON VIEW crm_contacts IS 'What the CRM held at captured_at in the mapped fields of contacts.';

CREATE VIEW crm_courses AS SELECT * EXCLUDE (fingerprint) FROM crm_snapshot.course;
COMMENT ON VIEW crm_courses IS 'What the CRM held at captured_at in the mapped fields of courses.';

CREATE VIEW crm_enrollments AS SELECT * EXCLUDE (fingerprint) FROM crm_snapshot.enrollment;
COMMENT ON VIEW crm_enrollments IS 'What the CRM held at captured_at in the mapped fields of enrollments; parent_… are the CRM''s ids.';

CREATE VIEW crm_completions AS SELECT * EXCLUDE (fingerprint) FROM crm_snapshot.completion;
COMMENT ON VIEW crm_completions IS 'What the CRM held at captured_at in the mapped fields of completions; parent_… are the CRM''s ids.';

CREATE VIEW crm_competencies AS SELECT * EXCLUDE (fingerprint) FROM crm_snapshot.competency;
COMMENT ON VIEW crm_competencies IS 'What the CRM held at captured_at in the mapped fields of competencies; parent_… are the CRM''s ids.';

CREATE VIEW quarantine AS
    SELECT if(starts_with(code, 'LMS-1'), 'schema', 'business') AS layer, entity AS kind, source_id, code, rule, "column",
        "value", NULL::VARCHAR AS message, attempts, first_seen_at, last_seen_at
    FROM staging.quarantine
    UNION ALL
    SELECT 'destination', object, external_id, code, NULL, field, "value", NULL, attempts, first_seen_at, last_seen_at
    FROM delta.refused WHERE severity = 'error'
    UNION ALL
    SELECT 'delivery', object, external_id, code, operation, NULL, NULL, message, attempts, first_rejected_at, last_rejected_at
    FROM sync.rejections;
COMMENT ON VIEW quarantine IS 'What is refused at present, a row a reason: by our checks (schema, business), for the CRM''s schema (destination), by the CRM (delivery).';
COMMENT ON COLUMN quarantine.code IS 'Of docs/error-codes.md; at delivery the CRM''s own word.';
COMMENT ON COLUMN quarantine.rule IS 'The rule that was broken; at delivery what was tried.';

CREATE VIEW plans AS
    SELECT plan_id, sync_run_id, status, lane, created_at, approved_at, withheld, breaches, sent AS sent_objects, forecast
    FROM delta.plans;
COMMENT ON VIEW plans IS 'What each run found to do: status approved, waiting, refused, dry_run or withheld.';

CREATE VIEW plan_changes AS
    SELECT plan_id, object, external_id, crm_id, action, coalesce(change.class, class) AS class, change.field AS field,
        change."old" AS "old", change."new" AS "new", change.owner AS owner, change.written AS written
    FROM (
        SELECT * EXCLUDE (changes), unnest(if(coalesce(len(changes), 0) = 0, [NULL], changes)) AS change FROM delta.plan_rows
    );
COMMENT ON VIEW plan_changes IS 'The changes of each plan, a row a field; a record of which no field changes has one row without a field.';
COMMENT ON COLUMN plan_changes.class IS 'ours: the LMS changed; drift: somebody edited the CRM; conflict: both.';

CREATE VIEW outcomes AS FROM sync.outcomes;
COMMENT ON VIEW outcomes IS 'What became of each record that was sent: status succeeded, rejected, failed or skipped.';

CREATE VIEW runs AS
    SELECT sync_run_id, plan_id, started_by, events, began_at FROM sync.runs;
COMMENT ON VIEW runs IS 'The runs that sent something, and who or what started them.';

CREATE VIEW ledger AS FROM sync.ledger;
COMMENT ON VIEW ledger IS 'What was last written to the CRM, a row a record.';
COMMENT ON COLUMN ledger.applied IS 'CRM field → value in normal form.';

CREATE VIEW invalid_by_day AS FROM staging.invalid_days;
COMMENT ON VIEW invalid_by_day IS 'How many rows broke each rule at the end of each day (UTC).';
