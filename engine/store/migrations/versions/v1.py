"""The first schema, made without Alembic."""

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing goes before it."""
