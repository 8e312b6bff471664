"""Letters to owners about what was done with their accounts, in case it was not them."""

from datetime import datetime

from subscription_svc.clients import Client
from subscription_svc.mail import Letter, Writing


def email_changed(old: str, client: Client, when: datetime) -> Writing:
    """To the old address, since the new one is read by whoever made the change.

    It doesn't name that: the old mailbox may be others' by now.
    """
    return _notice(old, "The e-mail address of your Foretick account was changed", client, when)


def password_changed(email: str, client: Client, when: datetime) -> Writing:
    """To the account's address."""
    return _notice(email, "The password of your Foretick account was changed", client, when)


def _notice(to: str, what: str, client: Client, when: datetime) -> Writing:
    where = f" from {client.address}" if client.address else ""

    async def write() -> Letter:
        return Letter(
            to,
            what,
            f"{what} on {when:%Y-%m-%d at %H:%M} UTC{where}, and all its devices were signed "
            "out.\n\nIf it was you, there is nothing to do. If it was not, tell whoever "
            "administers your Foretick at once: they can disable the account.\n",
        )

    return write
