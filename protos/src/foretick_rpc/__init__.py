"""What every Foretick service and caller shares: settings, server, client, errors."""
