"""Gathers what pages say into the catalogues of other languages; `make words`.

Nothing is guessed: a sentence that changed stands there without a translation again.
"""

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

SOURCE = Path(__file__).parent / "src" / "gateway"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
OPTIONS = {"templates/**.html": {"trimmed": "true", "silent": "false", "newstyle_gettext": "true"}}
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None}


def said() -> Catalog:
    """All that is marked for translation."""
    catalogue = Catalog()
    for _, _, message, comments, context in extract_from_dir(
        SOURCE, METHODS, OPTIONS, KEYWORDS, comment_tags=["Translators:"]
    ):
        catalogue.add(message, auto_comments=comments, context=context)
    return catalogue


def catalogues() -> list[Path]:
    """The catalogues that there are."""
    return sorted(SOURCE.glob("locale/*/LC_MESSAGES/messages.po"))


def main() -> None:
    """Bring every catalogue up to what is said now."""
    for path in catalogues():
        with path.open("rb") as file:
            catalogue = read_po(file)
        header = path.read_text().partition("\n\n")[0]
        catalogue.update(said(), no_fuzzy_matching=True)
        with path.open("wb") as file:
            file.write(header.encode() + b"\n\n")
            write_po(
                file, catalogue, width=0, omit_header=True, sort_output=True, ignore_obsolete=True
            )
        missing = sum(not message.string for message in catalogue if message.id)
        print(f"{path.relative_to(SOURCE)}: {missing} of {len(catalogue)} to be translated")


if __name__ == "__main__":
    main()
