"""What a client reads on the page of each problem: its usual cause, what to do, and whether to repeat the request."""

from collections.abc import Mapping

from portal.problem_types import Advice

_NO = "No: the same request gets the same answer."
_CORRECTED = "Yes, corrected."

ADVICE: Mapping[str, Advice] = {
    "body-too-large": Advice(
        "Send a shorter body: payments may have 256 KiB, all other requests 16 KiB.",
        _NO,
        "The body, or its `Content-Length`, is above the limit of the route.",
    ),
    "current-password-required": Advice(
        "Ask the user for the password, and send it as `currentPassword`.",
        _CORRECTED,
        "Users change their own email, or delete themselves, without `currentPassword`.",
    ),
    "email-taken": Advice(
        "Sign in with this email, or use another one.",
        _NO,
        "A user has this email already, in any case of its letters; or an earlier request did succeed.",
    ),
    "forbidden": Advice(
        "Sign in as an admin, or act on your own user only.",
        "No: first the role has to change.",
        "The route is for admins, or the request names another user and the caller is not an admin.",
    ),
    "headers-too-large": Advice(
        "Send fewer or shorter headers: all together may have 32 KiB.", _NO, "Often too many cookies, or a long token."
    ),
    "idempotency-key-reused": Advice(
        "Use a new key for a new payment. To repeat the first one, send its body again.",
        "With the first body, or with a new key.",
        "The client gives a key to two payments, or changes the body between two attempts.",
    ),
    "internal-error": Advice(
        "Tell the operator the `requestId`, which stands in the logs.",
        "Once, later; a payment with the same `Idempotency-Key`.",
        "A defect of the gateway or of a service.",
    ),
    "invalid-credentials": Advice(
        "Check email and password. The response does not tell which one is wrong, so that nobody can look for users.",
        "With other credentials; each wrong password counts against a limit.",
        "The email is unknown, the password is wrong, or the user is disabled.",
    ),
    "invalid-host": Advice(
        "Send one `Host` field, with a host and optionally a port.",
        _CORRECTED,
        "The client or a proxy builds it wrongly.",
    ),
    "invalid-refresh-token": Advice(
        "Sign in again.",
        _NO,
        "The session has ended, or the token was used before: each refresh gives a new one, which replaces it.",
    ),
    "invalid-request": Advice(
        "Read `errors`: each entry has the JSON Pointer of a field, a code and a message.",
        _CORRECTED,
        "A field or a parameter is missing, unknown, of the wrong type, or outside its limits.",
    ),
    "last-admin": Advice(
        "Make another user an admin first.", "Yes, afterwards.", "The change would leave the store without an admin."
    ),
    "malformed-body": Advice(
        "Send one JSON document in UTF-8.", _CORRECTED, "A syntax error, an encoding that is not UTF-8, or NaN."
    ),
    "malformed-request": Advice(
        "Use a library for HTTP/1.1 and plain characters in headers.",
        _CORRECTED,
        "TLS on a port without it, control characters in a header, or an invalid request line.",
    ),
    "method-not-allowed": Advice(
        "Use a method of the `Allow` field.", _CORRECTED, "The path exists, and has no route for this method."
    ),
    "not-found": Advice(
        "Check the path and the id. What belongs to another user looks the same.",
        _NO,
        "The path is misspelled, the resource was deleted, or the caller may not see it.",
    ),
    "outcome-unknown": Advice(
        "Look whether the change was made before you repeat it; a read changed nothing.",
        "A read: at once. A payment: with the same `Idempotency-Key`, under which it is made at most once.",
        "A service is slow or stopped, and the time for its reply was over.",
    ),
    "password-changed": Advice(
        "Ask the user for the new password.", _CORRECTED, "Two requests changed the password at the same time."
    ),
    "password-too-common": Advice(
        "Choose a longer, unusual password; a password manager makes one.",
        _CORRECTED,
        "The password is in lists of common ones, or consists of words of the email or the name.",
    ),
    "refused-event-not-found": Advice(
        "List the events with `mkstore dead-letters list`.",
        _NO,
        "Somebody published or discarded the event before.",
    ),
    "request-timeout": Advice(
        "Send the whole request without a pause.", "Yes, at once.", "A slow network, or a body shorter than announced."
    ),
    "rotation-in-progress": Advice(
        "Wait until the next key signs, which `mkstore keys list` shows.",
        "Yes, afterwards.",
        "A rotation began before, and verifiers still learn its key.",
    ),
    "service-unavailable": Advice(
        "Wait: nothing was done. `/health/ready` shows what is away.",
        "Yes, after the seconds in `Retry-After`, with growing delays.",
        "A service, its database or the message broker is away, or the gateway has as many requests as it takes.",
    ),
    "session-not-found": Advice(
        "List the sessions with `GET /auth/sessions`.", _NO, "The session has ended, or it is another user's."
    ),
    "signing-key-not-found": Advice(
        "List the keys with `mkstore keys list`.", _CORRECTED, "The key has left the published set, or never existed."
    ),
    "too-many-event-streams": Advice(
        "Close a stream, and share one among the parts of a client.",
        "Yes, once a stream is closed.",
        "Streams are opened again without closing the old ones.",
    ),
    "too-many-requests": Advice(
        "Send fewer requests; the `RateLimit` fields tell what is left.",
        "Yes, after the seconds in `Retry-After`; an earlier request is refused too.",
        "Too many requests from one address or caller, or too many wrong passwords for one account.",
    ),
    "unauthorized": Advice(
        "Send `Authorization: Bearer` with a token from `POST /auth/sessions`, or renew one with "
        "`POST /auth/sessions/refresh`.",
        "Yes, with the new token.",
        "The token is missing or has expired, or its session has ended.",
    ),
    "unknown-user": Advice(
        "Check `userId`.", _CORRECTED, "An admin pays for a user who does not exist, or who was deleted."
    ),
    "user-not-found": Advice(
        "Check the id. Another user looks the same as none.", _NO, "The user was deleted, or never existed."
    ),
    "version-mismatch": Advice(
        "Read the resource again, and apply the change to its present version.",
        "Yes, with the new `ETag` in `If-Match`.",
        "Somebody else changed it since it was read.",
    ),
    "wrong-password": Advice(
        "Ask the user for the present password.",
        "With another password; each wrong one counts against a limit.",
        "`currentPassword` is misspelled, or was changed elsewhere.",
    ),
}
"""By slug. tests/gateway/http/test_problem_pages.py requires an entry for each problem."""
