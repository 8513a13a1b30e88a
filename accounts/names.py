"""When two user names are the same name: in any case and any width, beyond ASCII too.

Python folds them, once for all doors: a database folds as its locale says, and in the locale C no further than ASCII.
The folded name is kept beside the name in a column of its own, which is unique. Of users from before that column
whose names fold alike, one has the folded name and the others keep their names exactly as they are (migration 0010):
so a name exactly as somebody registered it is looked for first.
"""

import unicodedata

from django.contrib.auth.models import UserManager
from django.db import models


def fold(name: str) -> str:
    """Compatible forms first (NFKC, which registering keeps), then case; that can undo the composition, so again."""
    return _composed(_composed(name).casefold())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


class NameKey(models.CharField):
    """What a user's name is found by: the folded name, written whenever the user is saved or made in bulk.

    A key that is the name itself stays until the name changes: it may be one from before.
    """

    def __init__(self, *args, **kwargs):
        kwargs["max_length"], kwargs["editable"] = 450, False  # folding makes three characters of one at most
        super().__init__(*args, **kwargs)

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        if getattr(model_instance, self.attname) != model_instance.username:
            setattr(model_instance, self.attname, fold(model_instance.username))
        return getattr(model_instance, self.attname)


class Users(UserManager):
    """Users by name. Django's own login, so the admin's, and createsuperuser ask by `get_by_natural_key`."""

    def key_of(self, name: str) -> str:
        """The key by which that name finds its user, if anybody has it."""
        exactly = self.filter(username=name).values_list("name_key", flat=True).first()
        return fold(name) if exactly is None else exactly

    def named(self, name: str):
        """The user of that name however it is written, or None."""
        return self.filter(name_key=self.key_of(name)).first()

    def get_by_natural_key(self, username: str):
        return self.get(name_key=self.key_of(username))
