"""Courses, and the product that each of them is sold as."""

from lms_crm_assets.sandbox.school.integer_ids import integer_id
from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.thinkific.listings import Listings
from lms_crm_assets.sandbox.thinkific.people import number_of, with_fraction
from lms_crm_assets.sandbox.thinkific.wire import Call, not_found

_PRODUCTS_FROM = 500_000_000


def courses(call: Call, listings: Listings) -> Row:
    """`GET /courses`."""
    return listings.page(call, "courses", lambda: _rows(call), lambda row_id: _course_json(_row(call, row_id)))


def course(call: Call) -> Row:
    """`GET /courses/:id`."""
    return _course_json(_row(call, call.store.row_id("courses", number_of(call))))


def products(call: Call, listings: Listings) -> Row:
    """`GET /products`."""
    return listings.page(call, "courses", lambda: _rows(call), lambda row_id: _product_json(_row(call, row_id)))


def product(call: Call) -> Row:
    """`GET /products/:id`."""
    return _product_json(_row(call, call.store.row_id("courses", number_of(call) - _PRODUCTS_FROM)))


def _rows(call: Call) -> list[Row]:
    return [row for _, row in call.store.rows("courses")]


def _row(call: Call, row_id: str | None) -> Row:
    row = call.store.get("courses", row_id)
    if row is None:
        raise not_found()
    return row


def _course_json(row: Row) -> Row:
    number = integer_id(row["id"])
    return {
        "id": number,
        "name": row["title"],
        "slug": (row["code"] or f"course-{number}").lower(),
        "subtitle": None,
        "product_id": _PRODUCTS_FROM + number,
        "description": None,
        "course_card_text": None,
        "intro_video_youtube": None,
        "contact_information": None,
        "keywords": None,
        "duration": None,
        "banner_image_url": None,
        "course_card_image_url": None,
        "intro_video_wistia_identifier": None,
        "administrator_user_ids": [],
        "chapter_ids": [],
        "reviews_enabled": False,
        "user_id": None,
        "instructor_id": None,
    }


def _product_json(row: Row) -> Row:
    number = integer_id(row["id"])
    return {
        "id": _PRODUCTS_FROM + number,
        "created_at": with_fraction(row["updated_at"]),
        "productable_id": number,
        "productable_type": "Course",
        "price": "0.0",
        "position": number,
        "status": "published" if row["visible"] else "draft",
        "name": row["title"],
        "private": False,
        "hidden": False,
        "subscription": False,
        "days_until_expiry": None,
        "has_certificate": False,
        "keywords": None,
        "seo_title": None,
        "seo_description": None,
        "collection_ids": [],
        "related_product_ids": [],
        "description": None,
        "card_image_url": None,
        "slug": (row["code"] or f"course-{number}").lower(),
        "product_prices": [],
    }
