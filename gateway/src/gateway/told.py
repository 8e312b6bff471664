"""What the services tell people, in the language that is spoken.

Services write English, for logs and programs too, and programs branch on reasons. So a sentence is
recognised here by its words, and what it names is put into the sentence of the other language.
"""

import re
from functools import cache, lru_cache

from gateway.languages import N_, Language, languages, spoken

_SENTENCES = (
    # subscription-svc
    N_("An e-mail address is needed, like ann@example.org."),
    N_("The e-mail address is too long: at most %(count)s characters are allowed."),
    N_("This is not an e-mail address like ann@example.org: %(why)s"),
    N_(
        "The part before the @ has letters that look like those of another alphabet. "
        "Write it in one alphabet."
    ),
    N_("The password must be %(least)s to %(most)s characters long."),
    N_("The password must not contain control characters."),
    N_("The password must not be the e-mail address."),
    N_("There were too many attempts. Try again in %(minutes)s min."),
    N_("There is already an account with this e-mail address."),
    N_("The e-mail address or the password is wrong."),
    N_("The password is wrong."),
    N_("This account is disabled. Ask an administrator."),
    N_("You are signed out. Sign in again."),
    N_("Only an administrator can do this."),
    N_(
        "This is the last administrator. Make another account administrator first: "
        "`python -m subscription_svc administrator EMAIL`."
    ),
    N_("Registration is closed."),
    N_("Registration is by invitation. Ask an administrator for one."),
    N_("This invitation was used or withdrawn, has expired, or is for another address."),
    N_("This link was used or has expired. Ask for a new one."),
    N_("There is no such account."),
    N_("There is no such device."),
    N_("%(symbol)s is not among the subscriptions."),
    N_("An account can follow at most %(count)s symbols. Remove one first."),
    N_("%(symbol)s is in the list %(name)s already."),
    N_("There is no such list."),
    N_("There is already a list with the name %(name)s."),
    N_("This is the only list. Make another one first."),
    N_("An account can have at most %(count)s lists. Delete one first."),
    N_("The name of a list has 1 to %(count)s characters."),
    N_("The name of a list has no control characters."),
    N_("The name of a list needs a character that can be seen."),
    N_("A note has at most %(count)s characters."),
    N_("A note has no control characters but line breaks."),
    N_("A position is from 0 to %(most)s."),
    N_("Each can be named once only."),
    N_("Change your own password by the old one."),
    N_("This is no token of a page of this list."),
    # the gateway itself
    N_("Sign in first."),
    N_("This page is for administrators."),
    N_(
        "The field csrf_token is missing, or belongs to a form that has expired. "
        "Open the page again and send the form from there."
    ),
    N_("This form was sent from another site."),
    N_("%(name)s must be text, not a file."),
    N_("%(name)s has characters that are none."),
    N_("Send a form as %(types)s, not %(type)s."),
    N_("The form can't be read."),
    N_("There is no such page."),
    N_("This address does not take requests of this kind."),
    N_("The request is too large; at most %(count)s kB are taken."),
    N_("Something went wrong here. It has been noted; try again in a moment."),
    N_("%(service)s can't be reached at the moment."),
    N_("%(service)s did not answer in time."),
    N_("Something went wrong in %(service)s."),
    N_("%(what)s Nothing was stored."),
    N_("Nothing was answered for this symbol."),
    N_("The forecasts at hand are of another market; new ones are being made."),
    N_("This can't be undone any longer."),
    N_("It is not in the list any longer."),
    N_("%(field)s must be one of %(choices)s."),
    N_("horizon must be 1, 5 or 20."),
    N_("This browser is signed out, but the sign-in has not ended: %(why)s"),
    N_("The proxy's header %(name)s has %(value)s; allowed are %(allowed)s."),
    # quote-svc
    N_("Demo exchange"),
    N_("Daily bars of %(file)s"),
    N_("The companies are made up, and a session passes in %(seconds)s seconds."),
    N_("Yahoo offers these prices for personal use only, and they may be delayed."),
    N_("%(count)s more lines are left out for want of a readable symbol."),
    N_("%(where)s; the line is left out."),
    N_("%(file)s line %(line)s, column %(column)s: %(what)s"),
    N_("%(file)s line %(line)s, %(what)s"),
    N_("the line has %(count)s fields, the header %(width)s"),
    N_("%(text)s is not a symbol"),
    N_("%(text)s is not a date like 2019-12-31"),
    N_("%(text)s lies in the future"),
    N_("%(text)s is not a number"),
    N_("%(text)s is too large"),
    N_("%(text)s is negative"),
    N_("%(text)s is not above 0"),
    N_("%(text)s is there twice"),
    N_("%(high)s is below the %(below)s"),
    N_("%(low)s is above the %(above)s"),
    N_("%(date)s is not a session of %(exchange)s"),
    N_("%(symbol)s is not traded on this market."),
    N_("delisted: it was last traded on %(session)s"),
    N_("there is no bar after %(session)s"),
    N_("The source has not known the symbol since %(date)s."),
    N_("The source has no price of the session of %(session)s yet."),
    N_("The source has no price of the open session yet."),
    N_("Not refreshed since %(instant)s UTC."),
    N_("The history is being fetched; ask again in a moment."),
    N_("The source does not know the symbol at the moment."),
    N_("What the source says of the symbol could not be kept."),
    N_("The source has %(count)s bars where it had %(before)s before."),
    N_("The source answered with neither bars nor a price."),
    N_("The source did not answer for %(seconds)s seconds."),
    N_("The stored history was damaged and is being fetched again."),
    N_("No price is known of the symbol yet."),
    N_("Yahoo asked for fewer calls; %(pause)s"),
    N_("Yahoo cannot be reached; %(pause)s"),
    N_("it is not asked again before %(time)s UTC"),
    N_("Yahoo asked for fewer calls (%(status)s)"),
    N_("Yahoo answered %(status)s"),
    N_("Yahoo cannot be reached: %(why)s."),
    N_("Yahoo's answer cannot be read: %(why)s."),
    N_("Yahoo's answer makes no sense: %(why)s"),
    N_("%(symbol)s is an ISIN; Yahoo's prices are found by symbol"),
    N_("the market has been switched off"),
    # prediction-svc
    N_("No forecasts have been made yet."),
    N_("The forecast of %(symbol)s is being made."),
    N_("%(symbol)s is not forecast in this market."),
    N_("The market's histories are too short for forecasts yet."),
    N_("%(symbol)s has %(sessions)s sessions; %(least)s are needed."),
    N_("%(symbol)s has not traded in its last %(sessions)s sessions."),
    N_(
        "The price of %(symbol)s moved as by a split that the source has not told of; it is "
        "forecast again once it does, or after %(sessions)s sessions."
    ),
    N_("The prices of %(symbol)s did not come in time."),
    N_("the ledger of %(market)s has no row %(number)s"),
    N_("The model of %(session)s was withdrawn."),
    N_("%(stage)s (model %(number)s of %(count)s)"),
    N_("reading histories"),
    N_("building features"),
    N_("training"),
    N_("backtesting"),
    N_("scoring"),
    N_("waiting for its turn"),
    N_("waiting to try again"),
    N_("trying the new recipe against the old"),
)
# What is named may be a sentence itself, like the stage of a training.
_CLAUSES = ("stage", "what", "where", "why", "pause")
_PLACE = re.compile(r"%\((\w+)\)s")


def told(message: str) -> str:
    """Say in the language that is spoken what a service said; unknown words stay as they are."""
    language = spoken()
    return message if language is next(iter(languages().values())) else _said(language, message)


@lru_cache(maxsize=2048)
def _said(language: Language, message: str) -> str:
    found = language.words.gettext(message) if message else ""
    if found != message:
        return found
    for sentence, pattern in _patterns().items():
        if match := pattern.fullmatch(message):
            named = {
                name: _said(language, text) if name in _CLAUSES else text
                for name, text in match.groupdict().items()
            }
            return language.words.gettext(sentence) % named
    return message


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """How each sentence that names something looks."""
    patterns = {}
    for sentence in _SENTENCES:
        texts = _PLACE.split(sentence)
        if len(texts) > 1:
            written = [
                f"(?P<{text}>.+)" if place % 2 else re.escape(text)
                for place, text in enumerate(texts)
            ]
            patterns[sentence] = re.compile("".join(written), re.DOTALL)
    return patterns
