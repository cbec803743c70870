"""Breaking mutations of the small system, with the expected change id and affected operations."""

from tests.contract_gate.mutating import (
    FORM,
    GET,
    NEW_USER,
    NULL,
    POST,
    SHOW,
    TEXT,
    USER,
    Mutation,
    become,
    cut,
    drop,
    facts,
    field,
    http,
    operation,
    put,
    removed,
    required,
    stream,
    together,
    without,
)

REQUESTS_CREATE, REQUESTS_MANY = ("gateway.requests.CreateUser",), ("gateway.requests.GetUsers",)
PUBLISHES_PAYMENT, SUBSCRIBES_PAYMENT = ("gateway.publishes.CreatePayment",), ("gateway.subscribes.PaymentCreated",)
CONSUMES_USER = ("payments.consumes.UserCreated",)
HTTP = ("HTTP clients",)
EVERYBODY = ("gateway", "payments", "users")

REQUESTS = [
    Mutation("a new required field in a request", "users.create/payload/birthday: required-added", REQUESTS_CREATE, together(become("CreateUser", "birthday", TEXT), required("CreateUser", "email", "password", "birthday"))),
    Mutation("an optional field becomes required", "users.create/payload/name: required-added", REQUESTS_CREATE, required("CreateUser", "email", "password", "name")),
    Mutation("null is no longer accepted", "users.create/payload/name: type-removed null", REQUESTS_CREATE, become("CreateUser", "name", {"type": "string", "maxLength": 100})),
    Mutation("a shorter maximum length", "users.create/payload/email: maxLength-lowered", REQUESTS_CREATE, field("CreateUser", "email", maxLength=100)),
    Mutation("a longer minimum length", "users.create/payload/password: minLength-raised", REQUESTS_CREATE, field("CreateUser", "password", minLength=12)),
    Mutation("a pattern where there was none", "users.create/payload/password: pattern-added", REQUESTS_CREATE, field("CreateUser", "password", pattern="[0-9]")),
    Mutation("an enumerated value is removed", 'users.create/payload/role: value-removed "admin"', REQUESTS_CREATE, field("CreateUser", "role", enum=["user"])),
    Mutation("an enumeration where any text was accepted", "users.create/payload/referrer: values-limited", REQUESTS_CREATE, field("CreateUser", "referrer", enum=["friend", "search"])),
    Mutation("a string becomes a number", "users.create/payload/referrer: type-removed string", REQUESTS_CREATE, become("CreateUser", "referrer", {"type": "integer"})),
    Mutation("an enforced format is added", "users.create/payload/referrer: format-added", REQUESTS_CREATE, field("CreateUser", "referrer", format="uri")),
    Mutation("a header becomes required", "users.create/headers/X-Request-Id: required-added", REQUESTS_CREATE, required("RequestHeaders", "content-type", "X-Request-Id")),
    Mutation("a new required header", "users.get_many/headers/Tenant: required-added", REQUESTS_MANY, together(become("RequestHeaders", "Tenant", TEXT), required("RequestHeaders", "content-type", "Tenant"))),
    Mutation("fewer items in a request", "users.get_many/payload/ids: maxItems-lowered", REQUESTS_MANY, field("GetUsers", "ids", maxItems=100)),
    Mutation("a higher minimum of items", "users.get_many/payload/ids: minItems-raised", REQUESTS_MANY, field("GetUsers", "ids", minItems=2)),
    Mutation("items must be unique", "users.get_many/payload/ids: unique-added", REQUESTS_MANY, field("GetUsers", "ids", uniqueItems=True)),
    Mutation("items are shorter", "users.get_many/payload/ids/[]: maxLength-lowered", REQUESTS_MANY, field("GetUsers", "ids", items={"type": "string", "format": "uuid", "maxLength": 36})),
    Mutation("unknown fields are refused", "users.get_many/payload/*: other-fields-closed", REQUESTS_MANY, put("components", "schemas", "GetUsers", additionalProperties=False)),
    Mutation("a field is renamed", "users.get_many/payload/userIds: required-added", REQUESTS_MANY, together(removed("GetUsers", "ids"), become("GetUsers", "userIds", {"type": "array"}), required("GetUsers", "userIds"))),
]  # fmt: skip

COMMANDS = [
    Mutation("a higher minimum", "payments.create/payload/amount: minimum-raised", PUBLISHES_PAYMENT, field("CreatePayment", "amount", minimum=100)),
    Mutation("a lower maximum", "payments.create/payload/amount: maximum-lowered", PUBLISHES_PAYMENT, field("CreatePayment", "amount", maximum=999)),
    Mutation("only multiples", "payments.create/payload/amount: multipleOf-added", PUBLISHES_PAYMENT, field("CreatePayment", "amount", multipleOf=5)),
    Mutation("fractions are no longer accepted", "payments.create/payload/discount: type-narrowed integer", PUBLISHES_PAYMENT, field("CreatePayment", "discount", type="integer")),
    Mutation("a bound becomes exclusive", "payments.create/payload/discount: maximum-lowered", PUBLISHES_PAYMENT, together(without("CreatePayment", "discount", "maximum"), field("CreatePayment", "discount", exclusiveMaximum=1))),
    Mutation("a variant is no longer accepted", "payments.create/payload/method: variant-removed Transfer", PUBLISHES_PAYMENT, become("CreatePayment", "method", {"oneOf": [{"$ref": "#/components/schemas/Card"}]})),
    Mutation("a variant requires another field", "payments.create/payload/method(Card)/holder: required-added", PUBLISHES_PAYMENT, together(become("Card", "holder", TEXT), required("Card", "kind", "number", "holder"))),
    Mutation("a constant changes", 'payments.create/payload/method(Card)/kind: value-removed "card"', PUBLISHES_PAYMENT, field("Card", "kind", const="credit-card")),
    Mutation("a recursive schema requires another field", "payments.create/payload/category/code: required-added", PUBLISHES_PAYMENT, together(become("Category", "code", TEXT), required("Category", "name", "code"))),
    Mutation("a map has fewer entries", "payments.create/payload/metadata: maxProperties-lowered", PUBLISHES_PAYMENT, field("CreatePayment", "metadata", maxProperties=10)),
    Mutation("the names of a map are shorter", "payments.create/payload/metadata/{name}: maxLength-lowered", PUBLISHES_PAYMENT, field("CreatePayment", "metadata", propertyNames={"maxLength": 20})),
    Mutation("the values of a map are shorter", "payments.create/payload/metadata/*: maxLength-lowered", PUBLISHES_PAYMENT, field("CreatePayment", "metadata", additionalProperties={"type": "string", "maxLength": 50})),
    Mutation("a field needs another one", "payments.create/payload/category: required-with discount", PUBLISHES_PAYMENT, put("components", "schemas", "CreatePayment", dependentRequired={"discount": ["category"]})),
    Mutation("a limit by allOf", "payments.create/payload/id: pattern-added", PUBLISHES_PAYMENT, become("CreatePayment", "id", {"allOf": [{"type": "string", "format": "uuid"}, {"pattern": "^0"}]})),
    Mutation("the subject comes from another field", "payments.create/parameters/paymentId: location-changed", PUBLISHES_PAYMENT, put("channels", "payments.create", "parameters", "paymentId", location="$message.payload#/key")),
    Mutation("a command goes into another stream", "payments.create: stream-changed", PUBLISHES_PAYMENT, together(stream("payments.create", name="COMMANDS"), facts("payments.consumes.CreatePayment", stream="COMMANDS"))),
    Mutation("a stream no longer stores the subject", "payments.create: subject-removed payments.create.*", PUBLISHES_PAYMENT, stream("payments.create", subjects=["payments.make.*"])),
    Mutation("a command is no longer consumed", "payments.create: operation-removed payments.consumes.CreatePayment", PUBLISHES_PAYMENT, drop("operations", "payments.consumes.CreatePayment")),
    Mutation("a command of another content type", "payments.create: content-type-changed", PUBLISHES_PAYMENT, put("components", "messages", "CreatePayment", contentType="application/cbor")),
]  # fmt: skip

REPLIES = [
    Mutation("a field of a reply is removed", "users.create/reply/UserView/payload/email: field-removed", REQUESTS_CREATE, removed("UserView", "email")),
    Mutation("an optional field of a reply is removed", "users.create/reply/UserView/payload/nickname: field-removed", REQUESTS_CREATE, removed("UserView", "nickname")),
    Mutation("a field of a reply may be missing", "users.create/reply/UserView/payload/version: required-removed", REQUESTS_CREATE, required("UserView", "id", "email", "name", "role")),
    Mutation("a field of a reply may be null", "users.create/reply/UserView/payload/email: type-added null", REQUESTS_CREATE, become("UserView", "email", {"anyOf": [{"type": "string", "maxLength": 320}, NULL]})),
    Mutation("a reply has a longer text", "users.create/reply/UserView/payload/email: maxLength-raised", REQUESTS_CREATE, field("UserView", "email", maxLength=1000)),
    Mutation("a reply has a text of any length", "users.create/reply/UserView/payload/email: maxLength-raised", REQUESTS_CREATE, without("UserView", "email", "maxLength")),
    Mutation("an id loses its format", "users.create/reply/UserView/payload/id: format-removed", REQUESTS_CREATE, without("UserView", "id", "format")),
    Mutation("a new value behind a reference", 'users.create/reply/UserView/payload/role: value-added "auditor"', REQUESTS_CREATE, put("components", "schemas", "Role", enum=["user", "admin", "auditor"])),
    Mutation("a lower minimum in a reply", "users.get_many/reply/UserList/payload/data/[]/version: minimum-lowered", REQUESTS_MANY, field("UserView", "version", minimum=0)),
    Mutation("a whole number becomes a fraction", "users.create/reply/UserView/payload/version: type-widened number", REQUESTS_CREATE, field("UserView", "version", type="number")),
    Mutation("more items in a reply", "users.get_many/reply/UserList/payload/data: maxItems-raised", REQUESTS_MANY, field("UserList", "data", maxItems=5000)),
    Mutation("a problem of a new kind", 'users.create/reply/Problem/payload/kind: value-added "teapot"', REQUESTS_CREATE, field("Problem", "kind", enum=["invalid", "not-found", "internal", "teapot"])),
    Mutation("a problem's header is removed", "users.create/reply/Problem/headers/Nats-Service-Error-Code: field-removed", REQUESTS_CREATE, removed("ProblemHeaders", "Nats-Service-Error-Code")),
    Mutation("a refusal has another kind", "users/problems/email-taken: kind-changed", (*REQUESTS_CREATE, *REQUESTS_MANY), put("components", "messages", "Problem", **{"x-problems": [{"slug": "email-taken", "kind": "not-found"}, {"slug": "internal-error", "kind": "internal"}]})),
    Mutation("a reply of another kind may come", "users.create/reply: message-added UserList", REQUESTS_CREATE, together(put("channels", "users.create.reply", "messages", UserList={"$ref": "#/components/messages/UserList"}), put("operations", "users.replies.CreateUser", "reply", messages=[{"$ref": f"#/channels/users.create.reply/messages/{name}"} for name in ("UserView", "UserList", "Problem")]))),
    Mutation("a reply is removed", "users.create/reply: reply-removed", REQUESTS_CREATE, drop("operations", "users.replies.CreateUser", "reply")),
    Mutation("the reply address changes", "users.create/reply: location-changed", REQUESTS_CREATE, put("operations", "users.replies.CreateUser", "reply", address={"location": "$message.header#/answer_to"})),
    Mutation("a request has another subject", "users.create: address-changed", REQUESTS_CREATE, put("channels", "users.create", address="users.register")),
    Mutation("another queue group replies", "users.create: queue-changed", REQUESTS_CREATE, facts("users.replies.CreateUser", queueGroup="users-2")),
    Mutation("a request is no longer replied to", "users.get_many: operation-removed users.replies.GetUsers", REQUESTS_MANY, drop("operations", "users.replies.GetUsers")),
    Mutation("receive becomes send", "users.create: action-changed", REQUESTS_CREATE, operation("users.replies.CreateUser", action="send")),
]  # fmt: skip

EVENTS = [
    Mutation("a field of an event is removed", "payment.created/payload/amount: field-removed", SUBSCRIBES_PAYMENT, removed("PaymentCreated", "amount")),
    Mutation("a field of an event may be missing", "payment.created/payload/currency: required-removed", SUBSCRIBES_PAYMENT, required("PaymentCreated", "id", "amount")),
    Mutation("an event has a new value", 'payment.created/payload/currency: value-added "GBP"', SUBSCRIBES_PAYMENT, field("PaymentCreated", "currency", enum=["EUR", "USD", "JPY", "GBP"])),
    Mutation("an event has any value", "payment.created/payload/currency: values-unlimited", SUBSCRIBES_PAYMENT, without("PaymentCreated", "currency", "enum")),
    Mutation("an event's number may be a string", "payment.created/payload/amount: type-added string", SUBSCRIBES_PAYMENT, become("PaymentCreated", "amount", {"type": ["integer", "string"], "minimum": 1})),
    Mutation("a time of another format", "payment.created/payload/createdAt: format-changed", SUBSCRIBES_PAYMENT, field("PaymentCreated", "createdAt", format="date")),
    Mutation("an event's header is removed", "payment.created/headers/ce-type: field-removed", SUBSCRIBES_PAYMENT, removed("EventHeaders", "ce-type")),
    Mutation("an event's header may be missing", "user.created/headers/ce-time: required-removed", CONSUMES_USER, required("EventHeaders", "ce-id", "ce-type")),
    Mutation("a nested field of an event is removed", "user.created/payload/user/role: field-removed", CONSUMES_USER, removed("UserView", "role")),
    Mutation("an event has another subject", "user.created: address-changed", CONSUMES_USER, put("channels", "user.created", address="user.made")),
    Mutation("an event has one more word in its subject", "payment.created: address-changed", SUBSCRIBES_PAYMENT, put("channels", "payment.created", address="payment.created.{id}")),
    Mutation("an event goes into another stream", "payment.created: stream-changed", SUBSCRIBES_PAYMENT, together(stream("payment.created", name="EVENTS"), facts("payments.publishes.PaymentCreated", stream="EVENTS"))),
    Mutation("an event is deleted after it is read", "payment.created: retention-changed", SUBSCRIBES_PAYMENT, stream("payment.created", retention="interest")),
    Mutation("an event is no longer published", "payment.created: operation-removed payments.publishes.PaymentCreated", SUBSCRIBES_PAYMENT, drop("operations", "payments.publishes.PaymentCreated")),
    Mutation("another event beside it", "user.created: message-added UserMade", CONSUMES_USER, together(put("channels", "user.created", "messages", UserMade={"$ref": "#/components/messages/DeadLetter"}), operation("users.publishes.UserCreated", messages=[{"$ref": f"#/channels/user.created/messages/{name}"} for name in ("UserCreated", "UserMade")]))),
]  # fmt: skip

SERVERS = [
    Mutation("another protocol", "servers/production: protocol-changed", EVERYBODY, put("servers", "production", protocol="wss")),
    Mutation("another login", "servers/production: login-changed", EVERYBODY, put("components", "securitySchemes", "login", type="X509")),
    Mutation("a server is removed", "servers/production: server-removed", EVERYBODY, drop("servers", "production")),
]  # fmt: skip

ROUTES = [
    Mutation("a path is removed", "POST /exports: operation-removed", HTTP, cut("paths", "/exports")),
    Mutation("a method is removed", "DELETE /users/{user_id}: operation-removed", HTTP, cut("paths", "/users/{user_id}", "delete")),
    Mutation("a path is renamed", "POST /users: operation-removed", HTTP, together(cut("paths", "/users"), http("paths", **{"/people": {"post": {"responses": {"201": {"description": "Made."}}}}}))),
    Mutation("a status is removed", f"{SHOW}/404: status-removed", HTTP, cut(*GET, "responses", "404")),
    Mutation("a response header is removed", f"{SHOW}/200/headers/ETag: header-removed", HTTP, cut(*GET, "responses", "200", "headers", "ETag")),
    Mutation("a response header may be missing", f"{SHOW}/200/headers/ETag: required-removed", HTTP, http(*GET, "responses", "200", "headers", "ETag", required=False)),
    Mutation("a parameter becomes required", f"{SHOW}/query/fields: required-added", HTTP, http(*GET, "parameters", "2", required=True)),
    Mutation("a new required parameter", f"{SHOW}/header/Tenant: required-added", HTTP, http(*GET, "parameters", new={"name": "Tenant", "in": "header", "required": True, "schema": TEXT})),
    Mutation("a parameter is shorter", f"{SHOW}/query/fields: maxLength-lowered", HTTP, http(*GET, "parameters", "2", "schema", maxLength=10)),
    Mutation("an id in a path is a number", f"{SHOW}/path/user_id: type-removed string", HTTP, http(*GET, "parameters", "0", schema={"type": "integer"})),
    Mutation("a field of a response is removed", f"{SHOW}/200/email: field-removed", HTTP, cut(*USER, "properties", "email")),
    Mutation("a field of a response may be missing", f"{SHOW}/200/email: required-removed", HTTP, http(*USER, required=["id"])),
    Mutation("a body requires another field", "POST /users/request/terms: required-added", HTTP, together(http(*NEW_USER, "properties", terms={"type": "boolean"}), http(*NEW_USER, required=["email", "terms"]))),
    Mutation("a field of a body is rejected", "POST /users/request/name: field-removed", HTTP, cut(*NEW_USER, "properties", "name")),
    Mutation("a form loses a value", 'POST /exports/request/format: value-removed "csv"', HTTP, http(*FORM, "properties", "format", enum=["json"])),
    Mutation("a body of another media type", "POST /users/request: media-type-removed application/json", HTTP, together(cut(*POST, "requestBody", "content", "application/json"), http(*POST, "requestBody", "content", **{"text/json": {"schema": {}}}))),
    Mutation("a response of another media type", f"{SHOW}/200: media-type-removed application/json", HTTP, cut(*GET, "responses", "200", "content", "application/json")),
    Mutation("a login where there was none", "POST /users: login-changed", HTTP, http(*POST, security=[{"token": []}])),
    Mutation("another way to log in", f"{SHOW}: login-changed", HTTP, http("components", "securitySchemes", "token", scheme="basic")),
    Mutation("a scope is needed", f"{SHOW}: login-changed", HTTP, http(*GET, security=[{"token": ["users:read"]}])),
]  # fmt: skip

BREAKS = [*REQUESTS, *COMMANDS, *REPLIES, *EVENTS, *SERVERS, *ROUTES]
