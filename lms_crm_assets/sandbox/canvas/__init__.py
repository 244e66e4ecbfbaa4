"""A Canvas site that serves a generated school over Canvas's REST API; `school.generator` tells what the rows are.

How the school's rows look here, so that an oracle can be written:

- ids: a row's number, `lrn-0000012` is user 12, `crs-0000003` course 3, `enr-0000034` enrollment 34; the school's own
  id stands in `sis_user_id` and `sis_course_id` (`school.integer_ids` for rows that were made by hand).
- learners: users with `login_id` (the username), `email` as it is, malformed and null ones too, and the names as they
  are. One with status `deleted` is in no listing and 404, as are tombstones. `suspended` shows only as the
  `workflow_state` of `GET /users/:id/logins`. Organization, country, cohort and the time of change are not told.
- courses: `course_code`, `name`, `start_at`, `end_at`; not visible is `workflow_state` `unpublished`, else `available`.
- enrollments: active and completed are `active`, invited `invited`, suspended `inactive`, expired `completed` (Canvas
  concludes them), withdrawn `deleted`, `pending_payment` and any other status `creation_pending`. Those of a deleted
  learner are `deleted`; those of a learner or, in a course's listing, of a course that isn't there are not listed. One
  with an unknown course is found by its user alone, with a `course_id` that is 404 and `enrollment_state` `deleted`.
  `created_at`, `start_at`, `end_at`, `updated_at` are the school's `enrolled_at`, `starts_at`, `ends_at`, `updated_at`.
  The roles student, teacher, ta and designer are types; any other is a student's. `x_custom` is not told.
- completions: only of students, in `GET /courses/:id/bulk_user_progress` (enrollments `active`) and `GET
  /courses/:id/users/:id/progress` (all but `deleted`): `requirement_count` 100, `requirement_completed_count` the
  percentage, at most 99 without completion; all and `completed_at` when completed, before the enrollment too.
- scores: a student's course score is `grades.current_score` and `final_score` of the enrollment, in percent, above
  100 too; HTML is `current_grade` and `final_grade` instead, with the scores null. `passed` and the time are not told.
  An activity's score is a submission; assignment `activity-2` of course 3 is 302.
- competencies: an outcome result (`mastery`, `score` 3 or 0) in the course that it names; the outcome's `vendor_guid` is
  the code, its `title` the name, its group and path the framework. One without a course is not told.

`poor_token` is an integration without rights: accounts and users are 403, and a course's enrollments are its own alone,
without a word that there are more. Neither it nor the admin is in a listing of the admin's.

Not simulated: writes, sections, terms beside the default one, `grouped` submissions, aggregate rollups; what is
unknown is 404. Listings are in the order of enrollment ids, where Canvas goes by names.
"""

from lms_crm_assets.sandbox.canvas.simulator import CanvasSimulator

__all__ = ["CanvasSimulator"]
