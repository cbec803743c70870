"""The HTTP API of the small system, as OpenAPI."""

from tests.contract_gate.writing import NULL, TEXT, UUID, Json, an_object, own, schema


def http_api() -> Json:
    body = {"application/json": {"schema": schema("User")}}
    return own(
        {
            "openapi": "3.1.0",
            "info": {"title": "mkstore", "version": "0.1.0"},
            "paths": {
                "/users/{user_id}": {
                    "get": {
                        "operationId": "get_user",
                        "summary": "Get User",
                        "description": "Show a user.",
                        "security": [{"token": []}],
                        "parameters": [
                            {"name": "user_id", "in": "path", "required": True, "schema": UUID},
                            {"name": "if-none-match", "in": "header", "required": False, "schema": TEXT},
                            {
                                "name": "fields",
                                "in": "query",
                                "required": False,
                                "schema": {"type": "string", "maxLength": 50},
                            },
                            {
                                "name": "limit",
                                "in": "query",
                                "schema": {"type": "integer", "maximum": 100, "default": 20},
                            },
                        ],
                        "responses": {
                            "200": {
                                "description": "The user.",
                                "headers": {"ETag": {"required": True, "schema": TEXT}},
                                "content": body,
                            },
                            "404": {
                                "description": "Not found.",
                                "content": {"application/problem+json": {"schema": schema("Problem")}},
                            },
                        },
                    },
                    "delete": {
                        "operationId": "delete_user",
                        "security": [{"token": []}],
                        "parameters": [{"name": "user_id", "in": "path", "required": True, "schema": UUID}],
                        "responses": {"204": {"description": "Deleted."}},
                    },
                },
                "/users": {
                    "post": {
                        "operationId": "create_user",
                        "requestBody": {
                            "required": True,
                            "content": {"application/json": {"schema": schema("NewUser")}},
                        },
                        "responses": {"201": {"description": "Created.", "content": body}},
                    }
                },
                "/exports": {
                    "post": {
                        "operationId": "export_users",
                        "requestBody": {
                            "required": True,
                            "content": {
                                "application/x-www-form-urlencoded": {
                                    "schema": an_object(
                                        ["format"],
                                        format={"type": "string", "enum": ["csv", "json"]},
                                        delimiter=TEXT,
                                    )
                                }
                            },
                        },
                        "responses": {"200": {"description": "The export."}},
                    }
                },
            },
            "components": {
                "schemas": {
                    "User": an_object(["id", "email"], id=UUID, email=TEXT, name={"anyOf": [TEXT, NULL]}),
                    "NewUser": an_object(["email"], email={"type": "string", "maxLength": 320}, name=TEXT)
                    | {"additionalProperties": False},
                    "Problem": an_object(["code"], code=TEXT),
                },
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "An access token."}},
            },
        }
    )
