"""`python protos/generate.py DIR`: generate the code of all contracts into DIR, typed."""

import shutil
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent
BIN = Path(sys.executable).parent
PLUGINS = ("mypy", "mypy_grpc")


def main(target: Path) -> int:
    """Generate into an emptied `target`; the exit code of the compiler."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    well_known = Path(protoc.__file__).parent / "_proto"
    contracts = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("foretick/**/*.proto"))
    code: int = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"-I{well_known}",
            # The plugins stand beside the interpreter, which need not be on the PATH.
            *(f"--plugin=protoc-gen-{name}={BIN / f'protoc-gen-{name}'}" for name in PLUGINS),
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--mypy_grpc_out=only_async,quiet:{target}",
            *contracts,
        ]
    )
    if code:
        return code
    for folder in (path for path in (target / "foretick").rglob("*") if path.is_dir()):
        (folder / "__init__.py").touch()
    (target / "foretick" / "__init__.py").touch()
    (target / "foretick" / "py.typed").touch()
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
