"""Run by Alembic."""

from foretick_rpc.database import migrate_env
from subscription_svc.schema import metadata

migrate_env(metadata)
