"""What stands in the UI of texts that the LMS gave."""

from lms_crm_assets.defs.edge import plain


def test_a_text_of_the_lms_makes_no_link_and_no_cell_of_its_own() -> None:
    assert plain("a|b [mine](https://evil.test)") == r"a\|b \[mine\]\(https://evil.test\)"
    assert plain("lrn-0001") == r"lrn\-0001"
