"""A Thinkific site that serves a generated school over the Admin API; `school.generator` tells what the rows are.

How the school's rows look here, so that an oracle can be written:

- ids: a row's number, `lrn-0000012` is user 12, `crs-0000003` course 3, `enr-0000034` enrollment 34
  (`school.integer_ids` for rows that were made by hand); the school's own ids and usernames are not told.
- learners: users with `email` as it is, malformed, shared and null ones too, `company` the organization, and the country
  as a custom profile field. One with status `deleted` is gone, as are tombstones. A suspended one looks like any
  other. Users tell no time of change; `created_at` is the school's `updated_at`.
- courses: `name`, `slug` (the code in small letters); its product's `status` is `published` when visible, else `draft`.
- enrollments: a withdrawn one is gone, as is one of a learner who is gone. Suspended and expired ones are `expired`, with
  an `expiry_date` that is the time of the suspension or of the end; else it is the end. Invited ones have no
  `activated_at`; `pending_payment` is a free trial without one. One with an unknown course has a `course_id` that is
  404 and no `course_name`. Roles are not told: a teacher's is like any other. `x_custom` is not told.
- completions: `percentage_completed` as text from `0.0` to `1.0`, at most `0.99` without completion; `completed` and
  `completed_at` when completed, before the enrollment too.
- scores and competencies: Thinkific's API has none.

Filters of enrollments by time take a date, which is its midnight in UTC, or a time: `updated_after` is exclusive,
`updated_on_or_after` inclusive. `updated_at` is the later one of the enrollment's and its completion's. Nothing tells of what is gone. A token without the scopes (`poor_token`) reads courses alone.

Not simulated: writes, OAuth's own endpoints, bundles, groups, orders, webhooks; what is unknown is 404.
"""

from lms_crm_assets.sandbox.thinkific.simulator import ThinkificSimulator

__all__ = ["ThinkificSimulator"]
