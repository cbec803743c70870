"""Changes of the small system that break somebody, what each is to be called and whom it hits: a table."""

from tests.contract_gate.mutating import (
    GET,
    NEW_USER,
    NULL,
    POST,
    SHOW,
    TEXT,
    TOKEN,
    USER,
    Mutation,
    become,
    cut,
    drop,
    facts,
    field,
    gone,
    http,
    operation,
    put,
    required,
    stream,
    together,
    without,
)

ASKS_CREATE, ASKS_MANY = ("gateway.asks.CreateUser",), ("gateway.asks.GetUsers",)
SENDS_PAYMENT, FOLLOWS_PAYMENT = ("gateway.sends.CreatePayment",), ("gateway.follows.PaymentCreated",)
TAKES_USER = ("payments.takes.UserCreated",)
HTTP = ("HTTP clients",)
EVERYBODY = ("gateway", "payments", "users")

REQUESTS = [
    Mutation("a new required field in a request", "users.create/payload/birthday: required-added", ASKS_CREATE, together(become("CreateUser", "birthday", TEXT), required("CreateUser", "email", "password", "birthday"))),
    Mutation("an optional field becomes required", "users.create/payload/name: required-added", ASKS_CREATE, required("CreateUser", "email", "password", "name")),
    Mutation("null is no longer taken", "users.create/payload/name: type-removed null", ASKS_CREATE, become("CreateUser", "name", {"type": "string", "maxLength": 100})),
    Mutation("a shorter text", "users.create/payload/email: maxLength-lowered", ASKS_CREATE, field("CreateUser", "email", maxLength=100)),
    Mutation("a longer text at least", "users.create/payload/password: minLength-raised", ASKS_CREATE, field("CreateUser", "password", minLength=12)),
    Mutation("a pattern where there was none", "users.create/payload/password: pattern-added", ASKS_CREATE, field("CreateUser", "password", pattern="[0-9]")),
    Mutation("a value of a list is gone", 'users.create/payload/role: value-removed "admin"', ASKS_CREATE, field("CreateUser", "role", enum=["user"])),
    Mutation("a list of values where any text was taken", "users.create/payload/referrer: values-limited", ASKS_CREATE, field("CreateUser", "referrer", enum=["friend", "search"])),
    Mutation("a text becomes a number", "users.create/payload/referrer: type-removed string", ASKS_CREATE, become("CreateUser", "referrer", {"type": "integer"})),
    Mutation("a format that is enforced", "users.create/payload/referrer: format-added", ASKS_CREATE, field("CreateUser", "referrer", format="uri")),
    Mutation("a header becomes required", "users.create/headers/X-Request-Id: required-added", ASKS_CREATE, required("RequestHeaders", "content-type", "X-Request-Id")),
    Mutation("a new required header", "users.get_many/headers/Tenant: required-added", ASKS_MANY, together(become("RequestHeaders", "Tenant", TEXT), required("RequestHeaders", "content-type", "Tenant"))),
    Mutation("fewer items in a request", "users.get_many/payload/ids: maxItems-lowered", ASKS_MANY, field("GetUsers", "ids", maxItems=100)),
    Mutation("more items at least", "users.get_many/payload/ids: minItems-raised", ASKS_MANY, field("GetUsers", "ids", minItems=2)),
    Mutation("items may not come twice", "users.get_many/payload/ids: unique-added", ASKS_MANY, field("GetUsers", "ids", uniqueItems=True)),
    Mutation("items are shorter", "users.get_many/payload/ids/[]: maxLength-lowered", ASKS_MANY, field("GetUsers", "ids", items={"type": "string", "format": "uuid", "maxLength": 36})),
    Mutation("unknown fields are refused", "users.get_many/payload/*: other-fields-closed", ASKS_MANY, put("components", "schemas", "GetUsers", additionalProperties=False)),
    Mutation("a field is renamed", "users.get_many/payload/userIds: required-added", ASKS_MANY, together(gone("GetUsers", "ids"), become("GetUsers", "userIds", {"type": "array"}), required("GetUsers", "userIds"))),
]  # fmt: skip

COMMANDS = [
    Mutation("a higher minimum", "payments.create/payload/amount: minimum-raised", SENDS_PAYMENT, field("CreatePayment", "amount", minimum=100)),
    Mutation("a lower maximum", "payments.create/payload/amount: maximum-lowered", SENDS_PAYMENT, field("CreatePayment", "amount", maximum=999)),
    Mutation("only multiples", "payments.create/payload/amount: multipleOf-added", SENDS_PAYMENT, field("CreatePayment", "amount", multipleOf=5)),
    Mutation("fractions are no longer taken", "payments.create/payload/discount: type-narrowed integer", SENDS_PAYMENT, field("CreatePayment", "discount", type="integer")),
    Mutation("a bound is itself out", "payments.create/payload/discount: maximum-lowered", SENDS_PAYMENT, together(without("CreatePayment", "discount", "maximum"), field("CreatePayment", "discount", exclusiveMaximum=1))),
    Mutation("a variant is no longer taken", "payments.create/payload/method: variant-removed Transfer", SENDS_PAYMENT, become("CreatePayment", "method", {"oneOf": [{"$ref": "#/components/schemas/Card"}]})),
    Mutation("a variant wants more", "payments.create/payload/method(Card)/holder: required-added", SENDS_PAYMENT, together(become("Card", "holder", TEXT), required("Card", "kind", "number", "holder"))),
    Mutation("a constant is another", 'payments.create/payload/method(Card)/kind: value-removed "card"', SENDS_PAYMENT, field("Card", "kind", const="credit-card")),
    Mutation("a schema inside itself wants more", "payments.create/payload/category/code: required-added", SENDS_PAYMENT, together(become("Category", "code", TEXT), required("Category", "name", "code"))),
    Mutation("a map has fewer entries", "payments.create/payload/metadata: maxProperties-lowered", SENDS_PAYMENT, field("CreatePayment", "metadata", maxProperties=10)),
    Mutation("the names of a map are shorter", "payments.create/payload/metadata/{name}: maxLength-lowered", SENDS_PAYMENT, field("CreatePayment", "metadata", propertyNames={"maxLength": 20})),
    Mutation("the values of a map are shorter", "payments.create/payload/metadata/*: maxLength-lowered", SENDS_PAYMENT, field("CreatePayment", "metadata", additionalProperties={"type": "string", "maxLength": 50})),
    Mutation("a field needs another one", "payments.create/payload/category: required-with discount", SENDS_PAYMENT, put("components", "schemas", "CreatePayment", dependentRequired={"discount": ["category"]})),
    Mutation("a limit by allOf", "payments.create/payload/id: pattern-added", SENDS_PAYMENT, become("CreatePayment", "id", {"allOf": [{"type": "string", "format": "uuid"}, {"pattern": "^0"}]})),
    Mutation("the subject is another field's", "payments.create/parameters/paymentId: location-changed", SENDS_PAYMENT, put("channels", "payments.create", "parameters", "paymentId", location="$message.payload#/key")),
    Mutation("a command goes into another stream", "payments.create: stream-changed", SENDS_PAYMENT, together(stream("payments.create", name="COMMANDS"), facts("payments.takes.CreatePayment", stream="COMMANDS"))),
    Mutation("a stream does not keep the subject", "payments.create: subject-removed payments.create.*", SENDS_PAYMENT, stream("payments.create", subjects=["payments.make.*"])),
    Mutation("a command is taken no longer", "payments.create: operation-removed payments.takes.CreatePayment", SENDS_PAYMENT, drop("operations", "payments.takes.CreatePayment")),
    Mutation("a command of another content type", "payments.create: content-type-changed", SENDS_PAYMENT, put("components", "messages", "CreatePayment", contentType="application/cbor")),
]  # fmt: skip

REPLIES = [
    Mutation("a field of a reply is gone", "users.create/reply/UserView/payload/email: field-removed", ASKS_CREATE, gone("UserView", "email")),
    Mutation("an optional field of a reply is gone", "users.create/reply/UserView/payload/nickname: field-removed", ASKS_CREATE, gone("UserView", "nickname")),
    Mutation("a field of a reply may be missing", "users.create/reply/UserView/payload/version: required-removed", ASKS_CREATE, required("UserView", "id", "email", "name", "role")),
    Mutation("a field of a reply may be null", "users.create/reply/UserView/payload/email: type-added null", ASKS_CREATE, become("UserView", "email", {"anyOf": [{"type": "string", "maxLength": 320}, NULL]})),
    Mutation("a reply has a longer text", "users.create/reply/UserView/payload/email: maxLength-raised", ASKS_CREATE, field("UserView", "email", maxLength=1000)),
    Mutation("a reply has any text", "users.create/reply/UserView/payload/email: maxLength-raised", ASKS_CREATE, without("UserView", "email", "maxLength")),
    Mutation("an id of another form", "users.create/reply/UserView/payload/id: format-removed", ASKS_CREATE, without("UserView", "id", "format")),
    Mutation("a new value behind a reference", 'users.create/reply/UserView/payload/role: value-added "auditor"', ASKS_CREATE, put("components", "schemas", "Role", enum=["user", "admin", "auditor"])),
    Mutation("a smaller number than ever before", "users.get_many/reply/UserList/payload/data/[]/version: minimum-lowered", ASKS_MANY, field("UserView", "version", minimum=0)),
    Mutation("a whole number becomes a fraction", "users.create/reply/UserView/payload/version: type-widened number", ASKS_CREATE, field("UserView", "version", type="number")),
    Mutation("more items in a reply", "users.get_many/reply/UserList/payload/data: maxItems-raised", ASKS_MANY, field("UserList", "data", maxItems=5000)),
    Mutation("a problem of a new kind", 'users.create/reply/Problem/payload/kind: value-added "teapot"', ASKS_CREATE, field("Problem", "kind", enum=["invalid", "not-found", "internal", "teapot"])),
    Mutation("a problem's header is gone", "users.create/reply/Problem/headers/Nats-Service-Error-Code: field-removed", ASKS_CREATE, gone("ProblemHeaders", "Nats-Service-Error-Code")),
    Mutation("a refusal has another kind", "users/problems/email-taken: kind-changed", (*ASKS_CREATE, *ASKS_MANY), put("components", "messages", "Problem", **{"x-problems": [{"slug": "email-taken", "kind": "not-found"}, {"slug": "internal-error", "kind": "internal"}]})),
    Mutation("a reply of another kind may come", "users.create/reply: message-added UserList", ASKS_CREATE, together(put("channels", "users.create.reply", "messages", UserList={"$ref": "#/components/messages/UserList"}), put("operations", "users.answers.CreateUser", "reply", messages=[{"$ref": f"#/channels/users.create.reply/messages/{name}"} for name in ("UserView", "UserList", "Problem")]))),
    Mutation("there is no reply any more", "users.create/reply: reply-removed", ASKS_CREATE, drop("operations", "users.answers.CreateUser", "reply")),
    Mutation("the reply goes elsewhere", "users.create/reply: location-changed", ASKS_CREATE, put("operations", "users.answers.CreateUser", "reply", address={"location": "$message.header#/answer_to"})),
    Mutation("a request has another subject", "users.create: address-changed", ASKS_CREATE, put("channels", "users.create", address="users.register")),
    Mutation("another queue group answers", "users.create: queue-changed", ASKS_CREATE, facts("users.answers.CreateUser", queueGroup="users-2")),
    Mutation("a request is answered no longer", "users.get_many: operation-removed users.answers.GetUsers", ASKS_MANY, drop("operations", "users.answers.GetUsers")),
    Mutation("what was received is sent", "users.create: action-changed", ASKS_CREATE, operation("users.answers.CreateUser", action="send")),
]  # fmt: skip

EVENTS = [
    Mutation("a field of an event is gone", "payment.created/payload/amount: field-removed", FOLLOWS_PAYMENT, gone("PaymentCreated", "amount")),
    Mutation("a field of an event may be missing", "payment.created/payload/currency: required-removed", FOLLOWS_PAYMENT, required("PaymentCreated", "id", "amount")),
    Mutation("an event has a new value", 'payment.created/payload/currency: value-added "GBP"', FOLLOWS_PAYMENT, field("PaymentCreated", "currency", enum=["EUR", "USD", "JPY", "GBP"])),
    Mutation("an event has any value", "payment.created/payload/currency: values-unlimited", FOLLOWS_PAYMENT, without("PaymentCreated", "currency", "enum")),
    Mutation("an event's number becomes a text too", "payment.created/payload/amount: type-added string", FOLLOWS_PAYMENT, become("PaymentCreated", "amount", {"type": ["integer", "string"], "minimum": 1})),
    Mutation("a time of another form", "payment.created/payload/createdAt: format-changed", FOLLOWS_PAYMENT, field("PaymentCreated", "createdAt", format="date")),
    Mutation("an event's header is gone", "payment.created/headers/ce-type: field-removed", FOLLOWS_PAYMENT, gone("EventHeaders", "ce-type")),
    Mutation("an event's header may be missing", "user.created/headers/ce-time: required-removed", TAKES_USER, required("EventHeaders", "ce-id", "ce-type")),
    Mutation("a field deep in an event is gone", "user.created/payload/user/role: field-removed", TAKES_USER, gone("UserView", "role")),
    Mutation("an event has another subject", "user.created: address-changed", TAKES_USER, put("channels", "user.created", address="user.made")),
    Mutation("an event has one more word in its subject", "payment.created: address-changed", FOLLOWS_PAYMENT, put("channels", "payment.created", address="payment.created.{id}")),
    Mutation("an event goes into another stream", "payment.created: stream-changed", FOLLOWS_PAYMENT, together(stream("payment.created", name="EVENTS"), facts("payments.sends.PaymentCreated", stream="EVENTS"))),
    Mutation("an event is kept no longer than it is read", "payment.created: retention-changed", FOLLOWS_PAYMENT, stream("payment.created", retention="interest")),
    Mutation("an event is sent no longer", "payment.created: operation-removed payments.sends.PaymentCreated", FOLLOWS_PAYMENT, drop("operations", "payments.sends.PaymentCreated")),
    Mutation("another event comes in its place", "user.created: message-added UserMade", TAKES_USER, together(put("channels", "user.created", "messages", UserMade={"$ref": "#/components/messages/DeadLetter"}), operation("users.sends.UserCreated", messages=[{"$ref": f"#/channels/user.created/messages/{name}"} for name in ("UserCreated", "UserMade")]))),
]  # fmt: skip

SERVERS = [
    Mutation("another protocol", "servers/production: protocol-changed", EVERYBODY, put("servers", "production", protocol="wss")),
    Mutation("another login", "servers/production: login-changed", EVERYBODY, put("components", "securitySchemes", "login", type="X509")),
    Mutation("a server is gone", "servers/production: server-removed", EVERYBODY, drop("servers", "production")),
]  # fmt: skip

ROUTES = [
    Mutation("a path is gone", "POST /auth/token: operation-removed", HTTP, cut("paths", "/auth/token")),
    Mutation("a method is gone", "DELETE /users/{user_id}: operation-removed", HTTP, cut("paths", "/users/{user_id}", "delete")),
    Mutation("a path is another", "POST /users: operation-removed", HTTP, together(cut("paths", "/users"), http("paths", **{"/people": {"post": {"responses": {"201": {"description": "Made."}}}}}))),
    Mutation("a status is gone", f"{SHOW}/404: status-removed", HTTP, cut(*GET, "responses", "404")),
    Mutation("a header of an answer is gone", f"{SHOW}/200/headers/ETag: header-removed", HTTP, cut(*GET, "responses", "200", "headers", "ETag")),
    Mutation("a header of an answer may be missing", f"{SHOW}/200/headers/ETag: required-removed", HTTP, http(*GET, "responses", "200", "headers", "ETag", required=False)),
    Mutation("a parameter becomes required", f"{SHOW}/query/fields: required-added", HTTP, http(*GET, "parameters", "2", required=True)),
    Mutation("a new required parameter", f"{SHOW}/header/Tenant: required-added", HTTP, http(*GET, "parameters", new={"name": "Tenant", "in": "header", "required": True, "schema": TEXT})),
    Mutation("a parameter is shorter", f"{SHOW}/query/fields: maxLength-lowered", HTTP, http(*GET, "parameters", "2", "schema", maxLength=10)),
    Mutation("an id in a path is a number", f"{SHOW}/path/user_id: type-removed string", HTTP, http(*GET, "parameters", "0", schema={"type": "integer"})),
    Mutation("a field of an answer is gone", f"{SHOW}/200/email: field-removed", HTTP, cut(*USER, "properties", "email")),
    Mutation("a field of an answer may be missing", f"{SHOW}/200/email: required-removed", HTTP, http(*USER, required=["id"])),
    Mutation("a body wants one more field", "POST /users/request/terms: required-added", HTTP, together(http(*NEW_USER, "properties", terms={"type": "boolean"}), http(*NEW_USER, required=["email", "terms"]))),
    Mutation("a field of a body is refused", "POST /users/request/name: field-removed", HTTP, cut(*NEW_USER, "properties", "name")),
    Mutation("a form loses a value", 'POST /auth/token/request/grant_type: value-removed "password"', HTTP, http(*TOKEN, "properties", "grant_type", enum=["refresh_token"])),
    Mutation("a body of another media type", "POST /users/request: media-type-removed application/json", HTTP, together(cut(*POST, "requestBody", "content", "application/json"), http(*POST, "requestBody", "content", **{"text/json": {"schema": {}}}))),
    Mutation("an answer of another media type", f"{SHOW}/200: media-type-removed application/json", HTTP, cut(*GET, "responses", "200", "content", "application/json")),
    Mutation("a login where there was none", "POST /users: login-changed", HTTP, http(*POST, security=[{"token": []}])),
    Mutation("another way to log in", f"{SHOW}: login-changed", HTTP, http("components", "securitySchemes", "token", scheme="basic")),
    Mutation("a scope is needed", f"{SHOW}: login-changed", HTTP, http(*GET, security=[{"token": ["users:read"]}])),
]  # fmt: skip

BREAKS = [*REQUESTS, *COMMANDS, *REPLIES, *EVENTS, *SERVERS, *ROUTES]
