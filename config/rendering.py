"""DRF's parser and renderers over marketdata.exact_json, and the rule that there is one representation."""

from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from marketdata.api.problems import CONTENT_TYPE as PROBLEM
from marketdata.exact_json import parse, render

JSON = "application/json"


class ExactJSONParser(BaseParser):
    """DRF's way to `parse`."""

    media_type = JSON

    def parse(self, stream, media_type=None, parser_context=None):
        return parse(stream.read())


class PlainJSONRenderer(BaseRenderer):
    """DRF's way to `render`."""

    media_type = JSON
    format = "json"
    charset = None
    render_style = "binary"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return b"" if data is None else render(data)


class ProblemRenderer(PlainJSONRenderer):
    """The same for application/problem+json."""

    media_type = PROBLEM


class Methods(BaseMetadata):
    """What OPTIONS says; the OpenAPI document says the rest."""

    def determine_metadata(self, request, view):
        return {"methods": view.allowed_methods}


class AlwaysJSON(BaseContentNegotiation):
    """There is one representation; whatever Accept says, it is what a client gets. The parser is chosen by
    Content-Type.
    """

    def select_parser(self, request, parsers):
        sent = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type
