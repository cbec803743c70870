"""`me` in a path is the caller, wherever an id of a user may stand."""

import pytest

from tests.support.store import Store
from tests.support.users_harness import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_me_stands_for_the_caller(store: Store) -> None:
    ada = await store.sign_up()
    changed = await ada.request("PATCH", "/users/me", json={"name": "Ada"})
    assert (changed.status_code, changed.json()["id"], changed.json()["name"]) == (200, ada.id, "Ada")
    passwords = {"currentPassword": PASSWORD, "newPassword": "staple of another colour"}
    assert (await ada.request("PUT", "/users/me/password", json=passwords)).status_code == 204
    gone = await ada.request("DELETE", "/users/me", json={"currentPassword": passwords["newPassword"]})
    assert gone.status_code == 204


async def test_other_words_are_no_id(store: Store) -> None:
    ada = await store.somebody()
    for method in ("PATCH", "DELETE"):
        response = await ada.request(method, "/users/I", json={})
        assert response.status_code == 422
        assert "/path/user_id" in {error["pointer"] for error in response.json()["errors"]}
