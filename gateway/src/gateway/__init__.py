"""What people see: HTML and JSON over HTTP."""
