"""Puts the package `gateway` in its place before the tests import from it."""

import importlib
import sys

# pytest names test modules after their folders below the root, and this folder is named like the
# package: without this, "gateway" would be the folder.
sys.modules.pop("gateway", None)
importlib.import_module("gateway")
