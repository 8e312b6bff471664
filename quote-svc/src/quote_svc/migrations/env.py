from foretick_rpc.database import migrate_env
from quote_svc.tables import metadata

migrate_env(metadata)
