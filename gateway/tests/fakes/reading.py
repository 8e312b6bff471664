"""Pages as people read them."""

import re
from html import unescape


def words_of(page: str) -> str:
    """The text of a page, its spaces made one, those that don't break left as they are."""
    text = re.sub(r"<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"[ \n]+", " ", unescape(text))
