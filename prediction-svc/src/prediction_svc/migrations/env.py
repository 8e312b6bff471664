"""Run by Alembic."""

from foretick_rpc.database import migrate_env
from prediction_svc.schema import metadata

migrate_env(metadata)
