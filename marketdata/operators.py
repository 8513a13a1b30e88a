"""What the operators' pages share: read-only history, exact numbers, search by index, and asking before acting.

Rules: a page never counts or sorts a table that grows without end, never deletes anything that has a history, and
changes nothing except through the service that owns it. Refusals and validation errors come back as messages.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, ChangeList
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import Field, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextareaWidget

from marketdata import units
from marketdata.refusals import Refusal

logger = logging.getLogger(__name__)

MAX_ID = 2**63 - 1
#: So many of whatever a search names are looked up one by one.
NAMED = 200


class OpenedField(forms.BoundField):
    """Keeps what the page was opened with when the form is shown again: Django forgets it of fields in several inputs.
    """

    def as_hidden(self, attrs: dict | None = None, *, only_initial: bool = False, **kwargs) -> str:
        if not (only_initial and self.form.is_bound):
            return super().as_hidden(attrs, only_initial=only_initial, **kwargs)
        widget, name = self.field.hidden_widget(), self.html_initial_name
        opened = self.form._widget_data_value(widget, name)
        return widget.render(name, opened, {**(attrs or {}), "id": self.html_initial_id}, self.form.renderer)


class EditForm(forms.ModelForm):
    """Takes of a row's page what was changed on it: a field that nobody touched keeps what the row has by now.

    The page says in hidden fields what it was opened with; what comes without any is compared with the row. The
    model's own rules are asked once each field is right by itself.
    """

    bound_field_class = OpenedField

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.is_bound and not any(name.startswith(self.add_initial_prefix("")) for name in self.data):
            for field in self.fields.values():
                field.show_hidden_initial = False

    def _post_clean(self):
        if self.errors:
            return
        if self.instance.pk is not None:
            for name in self.cleaned_data.keys() - set(self.changed_data):
                self._leave(name)
        super()._post_clean()

    def _leave(self, name: str) -> None:
        del self.cleaned_data[name]


class EditRowForm(EditForm):
    """The same for one of several rows: they are compared with each other, each as it will be."""

    def _leave(self, name: str) -> None:
        if name in self.base_fields:
            self.cleaned_data[name] = getattr(self.instance, name)


class SearchedSelect(AutocompleteSelect):
    """A row to search for. Django asks the database for whatever came as its id, and the page with it fails."""

    def optgroups(self, name: str, value: list[str], attr: dict | None = None) -> list:
        return super().optgroups(name, [text for text in value if text.isascii() and text.isdigit()], attr)


class Edits:
    """Of a page, or of the rows on it that hang on another: what was changed there is taken, and no more."""

    form = EditForm

    def formfield_for_foreignkey(self, db_field: Field, request: HttpRequest, **kwargs) -> forms.Field | None:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = SearchedSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.show_hidden_initial = True  # for EditForm
        return field


class EditInline(Edits, TabularInline):
    """Rows that hang on another, to be edited with it."""

    form = EditRowForm
    extra = 0
    hide_title = True


class SoundLists:
    """Of a page with a list: it shows all rows, and says so, where what its address asks for makes no sense.

    Django asks the database when the page is drawn. So a NUL, half a regular expression or a number that no column
    holds would be an error of ours. Where the address asks for nothing, an error is one.
    """

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        try:
            changes = super().get_changelist_instance(request)
            len(changes.result_list)  # the rows that are shown then
        except (IncorrectLookupParameters, DataError, ValueError, LookupError) as error:
            if not request.GET.keys() - {ERROR_FLAG}:
                raise
            logger.warning("%s makes no sense: %r", request.get_full_path(), error)
            messages.warning(request, "The address asks for rows in a way that makes no sense: here are all.")
            raise IncorrectLookupParameters from error
        return changes

    def response_action(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Django asks the database for whatever came as a ticked row, as in the address."""
        try:
            for text in request.POST.getlist(ACTION_CHECKBOX_NAME):
                self.opts.pk.to_python(text)
        except ValidationError:
            messages.warning(request, "What came as ticked rows are none of this list: nothing was done.")
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset)


class OperatorAdmin(SoundLists, Edits, ModelAdmin):
    """A page whose rows have a history: they can be seen, sometimes changed, never deleted.

    `exact_search` names integer columns, `text_search` lookups of text that an index answers.
    """

    list_per_page = 50
    show_full_result_count = False
    sortable_by: Sequence[str] = ()
    compressed_fields = True
    exact_search: Sequence[str] = ()
    text_search: Sequence[str] = ()

    def __init__(self, model, admin_site):
        self.search_fields = [*self.exact_search, *self.text_search]
        super().__init__(model, admin_site)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Only what an index finds: whole numbers by equality, text by the lookups named."""
        term = search_term.strip()
        if not term or "\x00" in term:
            return queryset if not term else queryset.none(), False
        found = Q(pk__in=[])
        if term.isascii() and term.isdigit() and int(term) <= MAX_ID:
            for name in self.exact_search:
                found |= Q(**{name: int(term)})
        for name in self.text_search:
            found |= self._found_by_text(name, term)
        return queryset.filter(found), False

    def _found_by_text(self, lookup: str, term: str) -> Q:
        """Whose name it is, is found out first: as one condition with the ids, over a join, it takes reading all rows.
        Where many have such a name, their rows are soon met among the newest.
        """
        first, _, rest = lookup.partition("__")
        field = self.opts.get_field(first)
        if not field.is_relation:
            return Q(**{lookup: term})
        named = field.related_model._default_manager.filter(**{rest: term}).order_by().values_list("pk", flat=True)
        ids = list(named[: NAMED + 1])
        return Q(**{lookup: term}) if len(ids) > NAMED else Q(**{f"{first}__in": ids})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict:
        """A new row begins as the model does: what stands in an address is not checked like what is sent."""
        return {}

    def save_model(self, request: HttpRequest, obj: Model, form: forms.ModelForm, change: bool) -> None:
        """Only what was edited: what the venue or another page has changed in the meantime stays."""
        edited = {field.name for field in obj._meta.concrete_fields}.intersection(form.changed_data)
        if not change:
            obj.save()
        elif edited:
            obj.save(update_fields=edited)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class HistoryAdmin(OperatorAdmin):
    """A page of what was written once and for all: no adding, no changing, newest first, no counting."""

    paginator = InfinitePaginator
    ordering = ("-id",)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        return self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class HistoryInline(TabularInline):
    """Rows that hang on another, to be read only."""

    extra = 0
    max_num = 0
    can_delete = False
    hide_title = True

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        return self.fields

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def number(name: str, title: str | None = None) -> Callable[[DjangoModelAdmin, Model], str]:
    """A column with a decimal as it is: no trailing zeros, no exponent."""

    def column(admin, obj: Model) -> str:
        value = getattr(obj, name)
        return "–" if value is None else units.plain(value)

    column.short_description = title or name.replace("_", " ")
    return column


def moment(name: str, title: str | None = None) -> Callable[[DjangoModelAdmin, Model], str]:
    """A column with a time to the millisecond, UTC."""

    def column(admin, obj: Model) -> str:
        value = getattr(obj, name)
        if value is None:
            return "–"
        text = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return format_html('<span class="whitespace-nowrap">{}</span>', text)

    column.short_description = f"{title or name.replace('_', ' ')} (UTC)"
    return column


class PlainDecimalField(forms.DecimalField):
    """A decimal that is edited as 0.01, not as 0.010000000000000000."""

    def prepare_value(self, value):
        return units.plain(value) if hasattr(value, "as_tuple") else value


class ReasonForm(forms.Form):
    """Why an operator does what the page asks about."""

    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "autofocus": True}),
        help_text="Kept in the log.",
    )


def ask(
    admin: ModelAdmin,
    request: HttpRequest,
    *,
    title: str,
    text: str,
    button: str,
    act: Callable[[dict], str],
    back: str,
    danger: bool = False,
    form: forms.Form | None = None,
    hidden: Iterable[tuple[str, str]] = (),
) -> HttpResponse:
    """An intermediate page: show the form (one that asks for a reason, unless another is given), and once it is sent
    and valid, `act` on its data and go `back`.

    `act` returns what to tell the operator. What it refuses stands on the form, with nothing done.
    """
    form = form or ReasonForm(request.POST or None)
    if form.is_bound and form.is_valid():
        try:
            messages.success(request, act(form.cleaned_data))
            return HttpResponseRedirect(back)
        except Refusal as refusal:
            form.add_error(None, refusal.detail)
        except ValidationError as error:
            form.add_error(None, error.messages)
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.model._meta,
        "title": title,
        "form": form,
        "text": text,
        "button": button,
        "back": back,
        "variant": "danger" if danger else "primary",
        "hidden": hidden,
    }
    return TemplateResponse(request, "marketdata/ask.html", context, status=400 if form.errors else 200)


def row_id(text: str | int) -> int:
    """The id that stands in an address; Http404 for what is no number."""
    try:
        return int(text)
    except ValueError:
        raise Http404(f"There is no row {text!r}.") from None


def find(rows: type[Model] | QuerySet, object_id: str) -> Model:
    """The row that an address names; Http404 when there is none."""
    return get_object_or_404(rows, pk=row_id(object_id))


def change_url(obj: Model) -> str:
    """The page of a row."""
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def list_url(model: type[Model]) -> str:
    """The list that a model's rows are on."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def log(request: HttpRequest, rows: Iterable[Model], message: str) -> None:
    """Who did what, in the admin's log of each row."""
    for row in rows:
        LogEntry.objects.log_actions(request.user.pk, [row], CHANGE, change_message=message, single_object=True)
