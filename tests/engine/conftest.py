"""Every table of these tests is put to both books: the one that trades and the one that specifies it."""

import pytest

from exchange.engine.book import Book
from exchange.engine.reference import ReferenceBook


@pytest.fixture(params=[Book, ReferenceBook], ids=["book", "reference"])
def empty_book(request):
    return request.param()
