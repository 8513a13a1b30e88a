"""Lists: by page number, or by cursor for long histories. {"count", "next", "previous", "results"} either way.

A page is `?page=&page_size=`; where a `page` is asked for, the count costs a query over the whole list. `?cursor=`
(empty for the first) walks from the newest back by id at the same cost for every page; its count is null. It is for
views that say `has_cursor = True` because their lists are ordered like that; others ignore it. Asked for neither, those
give the first page, and a walk from there, with a count of null, if there are more than COUNTED. A list with a method
`newest(before=, limit=)` instead of a queryset is walked unless a `page` is asked for; its first answer has the count
if that is at most COUNTED, and null beyond.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from marketdata.api.acceptor import read_query
from marketdata.api.fields import Whole
from marketdata.refusals import Malformed

#: So many lines of a long history are counted without being asked to: more would make every first page dearer.
COUNTED = 10_000
#: Any number of digits: a page that is too far to exist is not found, not malformed.
PAGE_NUMBER = re.compile(r"0*[1-9][0-9]*", re.ASCII)


class SizeQuery(serializers.Serializer):
    """How long a page is to be."""

    page_size = Whole(least=1, required=False)


class Short:
    """Rows that were counted already."""

    def __init__(self, rows: QuerySet, found: int):
        self.rows, self.found = rows, found

    def count(self) -> int:
        return self.found

    def __getitem__(self, span: slice) -> QuerySet:
        return self.rows[span]


class PagePagination(PageNumberPagination):
    """See the module."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    cursor_query_param = "cursor"
    invalid_page_message = "There is no such page: the last one has a `next` of null."

    def paginate_queryset(self, queryset, request, view=None):
        is_endless = hasattr(queryset, "newest")
        wants_cursor = self.cursor_query_param in request.query_params and _has_cursor(view)
        wants_neither = not wants_cursor and self.page_query_param not in request.query_params
        is_long = False
        if wants_neither and not is_endless and _has_cursor(view):
            found = queryset[: COUNTED + 1].count()
            is_long = found > COUNTED
            queryset = queryset if is_long else Short(queryset, found)
        self.walks = wants_cursor or is_long or (is_endless and wants_neither)
        if not self.walks:
            return super().paginate_queryset(queryset, request, view=view)
        self.request = request
        size = self.get_page_size(request)
        before = _read(request.query_params.get(self.cursor_query_param, ""))
        if is_endless:
            rows = queryset.newest(before=before, limit=size + 1)
        else:
            older = queryset if before is None else queryset.filter(pk__lt=before)
            rows = list(older.order_by("-pk")[: size + 1])
        self.last_id = rows[size - 1].pk if len(rows) > size else None
        self.count = None
        if is_endless and not wants_cursor:
            self.count = len(rows) if self.last_id is None else queryset.count_up_to(COUNTED)
        return rows[:size]

    def get_page_size(self, request):
        """What was asked for, but never more than the most; a ValidationError for what is no size."""
        wanted = read_query(SizeQuery, request.query_params)
        return min(wanted.get("page_size", self.page_size), self.max_page_size)

    def get_page_number(self, request, paginator):
        """What was asked for; a ValidationError for what is no page's number. DRF's `last` is one."""
        number = request.query_params.get(self.page_query_param) or "1"
        if number not in self.last_page_strings and not PAGE_NUMBER.fullmatch(number):
            detail = ErrorDetail("Must be a whole number above zero.", code="invalid")
            raise serializers.ValidationError({self.page_query_param: [detail]})
        return super().get_page_number(request, paginator)

    def get_paginated_response(self, data):
        if not self.walks:
            return super().get_paginated_response(data)
        next_link = None
        if self.last_id is not None:
            url = self.request.build_absolute_uri()
            next_link = replace_query_param(url, self.cursor_query_param, written(self.last_id))
        return Response({"count": self.count, "next": next_link, "previous": None, "results": data})

    def get_paginated_response_schema(self, schema):
        answer = super().get_paginated_response_schema(schema)
        answer["required"] = ["count", "next", "previous", "results"]
        answer["properties"]["count"]["type"] = ["integer", "null"]
        for link in ("next", "previous"):
            described = answer["properties"][link]
            del described["nullable"]  # OpenAPI 3.1 has no such word
            described["type"] = ["string", "null"]
        return answer

    def get_schema_operation_parameters(self, view):
        pages = super().get_schema_operation_parameters(view)
        for parameter in pages:
            if parameter["name"] == self.page_query_param:
                parameter["schema"] |= {"minimum": 1, "default": 1}
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {"minimum": 1, "default": self.page_size}
                parameter["description"] = f"Lines of a page, at most {self.max_page_size}: more are answered as that."
        if not _has_cursor(view):
            return pages
        for parameter in pages:
            if parameter["name"] == self.page_query_param:
                parameter["description"] = (
                    "The cost grows with the list, which is counted. Left out, the newest page is answered; a list of "
                    f"more than {COUNTED:,} then has a `count` of null and goes on by `cursor`."
                )
        cursor = {
            "name": self.cursor_query_param,
            "required": False,
            "in": "query",
            "description": (
                "Instead of page: walks a long history back from the newest; empty for the first, then as in `next`."
            ),
            "schema": {"type": "string"},
        }
        return [*pages, cursor]


def _has_cursor(view) -> bool:
    return getattr(view, "has_cursor", False)


def written(last_id: int) -> str:
    """The cursor that goes on after the row with that id."""
    return urlsafe_b64encode(str(last_id).encode()).decode().rstrip("=")


def _read(cursor: str) -> int | None:
    if not cursor:
        return None
    try:
        number = int(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii"))
    except ValueError:
        number = 0
    if not 0 < number < 2**63:
        raise Malformed(
            "The cursor is not one of ours.",
            errors=[{"field": "cursor", "code": "invalid", "detail": "Unknown cursor."}],
        )
    return number
