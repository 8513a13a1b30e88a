from django.db import migrations


class Migration(migrations.Migration):
    """A charge's journal is found by its kind, its reference (the rollover) and the account; this was never written."""

    dependencies = [("accounts", "0001_squashed_0011_disqualified")]

    operations = [migrations.RemoveField(model_name="financingcharge", name="journal_id")]
