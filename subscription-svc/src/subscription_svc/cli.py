"""The command line. What it does to accounts it does in the service's database, beside it."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from pydantic import SecretStr
from sqlalchemy import Connection

from foretick_rpc.commands import Commands, run_command, service_parser
from foretick_rpc.database import Database, open_beside
from foretick_rpc.errors import DatabaseUnavailableError, StartupError
from foretick_rpc.settings import load_settings
from subscription_svc import audit, events, invitations
from subscription_svc.account_rows import (
    Account,
    find_account,
    list_accounts,
    lock_account,
    set_standing,
)
from subscription_svc.administration import change_standing
from subscription_svc.app import running
from subscription_svc.audit import AuditKind
from subscription_svc.clients import Client
from subscription_svc.credentials import parse_email
from subscription_svc.events import AccountEvent, EventKind
from subscription_svc.invitations import RegistrationMode, invitation_link
from subscription_svc.refusals import AccountNotFoundError, RefusalError, RegistrationClosedError
from subscription_svc.resets import HANDED_OVER, begin_reset, reset_link
from subscription_svc.settings import SubscriptionSettings

_COMMAND_LINE = Client(user_agent="command line")
Command = Callable[[Database, SubscriptionSettings, Namespace], Awaitable[None]]


def main(arguments: Sequence[str]) -> int:
    """Serve, or do what is asked; return the exit code of the process."""
    parser, commands = service_parser("subscription_svc")
    _add(commands, "accounts", _accounts, "list all accounts")
    _add(commands, "reset-link", _reset_link, "print a link that sets a new password once", True)
    _add(commands, "disable", _disable, "end an account's sign-ins and let it begin no other", True)
    _add(commands, "enable", _enable, "let a disabled account sign in again", True)
    _add(commands, "administrator", _administrator, "make an account an administrator", True)
    invite = _add(commands, "invite", _invite, "print a link that makes one account")
    invite.add_argument("email", metavar="EMAIL", nargs="?", help="the only address it is for")
    chosen = parser.parse_args(arguments)
    if (command := getattr(chosen, "does", None)) is None:
        return run_command(chosen.command, SubscriptionSettings, running, "subscription_svc")
    # Nothing is called, so there is nobody to show a token to.
    settings = load_settings(SubscriptionSettings, service_token=SecretStr("-" * 16))
    try:
        asyncio.run(_beside(command, settings, chosen))
    except (StartupError, DatabaseUnavailableError, RefusalError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _add(
    commands: Commands, name: str, does: Command, summary: str, takes_email: bool = False
) -> ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. The service may be running or not.",
    )
    command.set_defaults(does=does)
    if takes_email:
        command.add_argument("email", metavar="EMAIL", help="the account's e-mail address")
    return command


async def _beside(command: Command, settings: SubscriptionSettings, chosen: Namespace) -> None:
    async with open_beside(settings.database, "subscription_svc") as database:
        await command(database, settings, chosen)


async def _accounts(database: Database, _settings: SubscriptionSettings, _: Namespace) -> None:
    found = await database.read(list_accounts)
    if not found:
        print("There are no accounts yet.", file=sys.stderr)
    for account, last_used in found:
        words = [
            account.email,
            f"since {account.create_time:%Y-%m-%d}",
            f"last used {last_used:%Y-%m-%d %H:%M} UTC" if last_used else "never used lately",
        ]
        if account.administrator:
            words.append("administrator")
        if account.disable_time:
            words.append("disabled")
        print("  ".join(words))


async def _reset_link(
    database: Database, settings: SubscriptionSettings, chosen: Namespace
) -> None:
    def work(connection: Connection) -> str:
        account, now = _account(connection, chosen.email), _now()
        audit.record(connection, account.entry(AuditKind.RESET_REQUESTED, _COMMAND_LINE, now))
        return begin_reset(connection, account.account_id, now, HANDED_OVER)

    print(reset_link(settings.public_url, await database.write(work)))
    print("It works once, within 24 hours.", file=sys.stderr)


async def _invite(database: Database, settings: SubscriptionSettings, chosen: Namespace) -> None:
    if settings.registration is RegistrationMode.CLOSED:
        raise RegistrationClosedError
    address = parse_email(chosen.email) if chosen.email else None
    _, token = await database.write(
        lambda connection: invitations.create(connection, None, address, _now())
    )
    print(invitation_link(settings.public_url, token))
    print("It makes one account, within a week.", file=sys.stderr)


async def _disable(database: Database, _: SubscriptionSettings, chosen: Namespace) -> None:
    await database.write(lambda connection: _change(connection, chosen.email, disabled=True))
    print("The account is disabled.", file=sys.stderr)


async def _enable(database: Database, _: SubscriptionSettings, chosen: Namespace) -> None:
    await database.write(lambda connection: _change(connection, chosen.email, disabled=False))
    print("The account can sign in.", file=sys.stderr)


async def _administrator(database: Database, _: SubscriptionSettings, chosen: Namespace) -> None:
    def work(connection: Connection) -> None:
        now = _now()
        account = lock_account(connection, _account(connection, chosen.email).account_id)
        if account.administrator:
            return
        set_standing(
            connection,
            account.account_id,
            administrator=True,
            disable_time=account.disable_time,
        )
        audit.record(connection, account.entry(AuditKind.MADE_ADMINISTRATOR, _COMMAND_LINE, now))
        told = AccountEvent(EventKind.ACCOUNT_CHANGED, account.account_id)
        events.append(connection, [told], now)

    await database.write(work)
    print("The account is an administrator.", file=sys.stderr)


def _change(connection: Connection, email: str, *, disabled: bool) -> Account:
    account = _account(connection, email)
    return change_standing(connection, account.account_id, _now(), disabled=disabled)


def _account(connection: Connection, email: str) -> Account:
    account = find_account(connection, parse_email(email).key)
    if account is None:
        raise AccountNotFoundError(f"There is no account of {email}.")
    return account


def _now() -> datetime:
    return datetime.now(UTC)
