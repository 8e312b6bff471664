"""Settings, and what they keep to themselves."""

import pytest

from foretick_rpc.settings import load_settings
from subscription_svc.mail import parse_smtp_url
from subscription_svc.settings import SubscriptionSettings

TOKEN = "a-token-for-tests-only"


def test_no_secret_is_in_what_settings_look_like() -> None:
    settings = SubscriptionSettings(
        service_token=TOKEN,
        database_url="postgresql://user:db-secret@host/name",
        smtp_url="smtp://user:mail-secret@host",
        mail_from="foretick@x.test",
        public_url="https://foretick.x.test/",
    )
    shown = f"{settings!r} {settings} {settings.smtp_server!r}"
    for secret in (TOKEN, "db-secret", "mail-secret"):
        assert secret not in shown
    assert settings.public_url == "https://foretick.x.test"
    assert settings.smtp_server is not None
    assert settings.smtp_server.password == "mail-secret"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"REGISTRATION": "everybody"}, "SUBSCRIPTION_REGISTRATION: "),
        ({"SMTP_URL": "smtp://user:secret@"}, "SUBSCRIPTION_SMTP_URL: it must be like"),
        ({"SMTP_URL": "smtp://user:secret@host"}, "SUBSCRIPTION_MAIL_FROM must be"),
        ({"PUBLIC_URL": "foretick.x.test"}, "SUBSCRIPTION_PUBLIC_URL: it must be like"),
        ({"PUBLIC_URL": "https://foretick.x.test?x=y"}, "SUBSCRIPTION_PUBLIC_URL: it must be"),
    ],
)
def test_what_is_wrong_is_named_and_not_quoted(
    given: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FORETICK_SERVICE_TOKEN", TOKEN)
    for name, value in given.items():
        monkeypatch.setenv(f"SUBSCRIPTION_{name}", value)
    with pytest.raises(SystemExit):
        load_settings(SubscriptionSettings)
    said = capsys.readouterr().err
    assert named in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("url", "port", "use_tls", "starttls"),
    [
        ("smtp://mail.x.test", 587, False, None),
        ("smtp://ann:secret@mail.x.test:25", 25, False, True),
        ("smtp://ann:secret@mail.x.test?starttls=never", 587, False, False),
        ("smtp://mail.x.test?starttls=required", 587, False, True),
        ("smtps://ann:secret@mail.x.test", 465, True, False),
    ],
)
def test_where_letters_are_handed_over(
    url: str, port: int, use_tls: bool, starttls: bool | None
) -> None:
    server = parse_smtp_url(url)
    assert (server.host, server.port) == ("mail.x.test", port)
    assert (server.use_tls, server.starttls) == (use_tls, starttls)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://mail.x.test",
        "smtp://",
        "smtp://mail.x.test:port",
        "smtp://mail.x.test?starttls=maybe",
        "smtp://mail.x.test?tls=yes",
        "smtp://mail.x.test?starttls",
        "smtp://[::1",
    ],
)
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="it must be like smtp://"):
        parse_smtp_url(url)
