"""API keys are shown once, stored as a hash, belong to an owner, and can be revoked."""

from sqlalchemy import select

from models.database import Database
from models.store import keys
from models.tables import KeyRow
from tests.models.work import ALICE, BOB


def make(database: Database, owner: str = ALICE) -> str:
    with database.write() as session:
        return keys.make(session, owner)


def caller_of(database: Database, key: str) -> keys.Caller | None:
    with database.read() as session:
        return keys.find_caller(session, key)


def test_a_key_names_its_owner(database):
    first, second = make(database, ALICE), make(database, BOB)
    assert caller_of(database, first).owner == ALICE
    assert caller_of(database, second).owner == BOB
    prefix, key_id, secret = first.split("_", 2)
    assert prefix == "ho"
    assert caller_of(database, first).key_id == key_id
    assert len(secret) >= 43


def test_the_secret_is_nowhere_in_the_database(database):
    key = make(database)
    secret = key.split("_", 2)[2]
    with database.read() as session:
        [row] = session.execute(select(KeyRow.__table__)).mappings()
    assert secret not in str(dict(row))
    assert len(row["secret_sha256"]) == 64


def test_each_key_is_different(database):
    assert len({make(database) for _ in range(20)}) == 20


def test_a_revoked_key_is_refused_and_the_owners_other_keys_still_work(database):
    first, second = make(database), make(database)
    key_id = first.split("_")[1]
    with database.write() as session:
        assert keys.revoke(session, key_id)
    assert caller_of(database, first) is None
    assert caller_of(database, second) is not None
    with database.write() as session:
        assert not keys.revoke(session, key_id)
        assert not keys.revoke(session, "unknown")


def test_an_owner_lists_and_revokes_only_its_own(database):
    mine, theirs = make(database, ALICE), make(database, BOB)
    mine_id, their_id = mine.split("_")[1], theirs.split("_")[1]
    with database.write() as session:
        assert [row.id for row in keys.list_of_owner(session, ALICE)] == [mine_id]
        assert not keys.revoke_of(session, ALICE, their_id)
        assert not keys.revoke_of(session, ALICE, "unknown")
        assert {row.id for row in keys.list_all(session)} == {mine_id, their_id}
    assert caller_of(database, theirs) is not None
    with database.write() as session:
        assert keys.revoke_of(session, ALICE, mine_id)
        assert keys.revoke_of(session, ALICE, mine_id)  # the key is still revoked
    assert caller_of(database, mine) is None
    with database.read() as session:
        [row] = keys.list_of_owner(session, ALICE)
    assert row.revoked_at is not None


MALFORMED = {
    "empty": lambda key: "",
    "only the prefix": lambda key: "ho_",
    "without its secret": lambda key: key.rsplit("_", 1)[0] + "_",
    "with another secret": lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
    "shortened": lambda key: key[:-1],
    "lengthened": lambda key: key + "A",
    "with another id": lambda key: "ho_000000000000_" + key.split("_", 2)[2],
    "with another prefix": lambda key: "h0" + key[2:],
    "in capitals": lambda key: key.upper(),
    "with a space": lambda key: f" {key}",
    "with a line break": lambda key: f"{key}\n",
    "not ASCII": lambda key: key[:-1] + "é",
    "enormous": lambda key: key + "A" * 100_000,
    "with a pattern": lambda key: "ho_%_" + key.split("_", 2)[2],
    "the hash instead of the secret": lambda key: f"ho_{key.split('_')[1]}_{'0' * 64}",
}


def test_only_the_exact_key_is_accepted(database):
    key = make(database)
    for change, make_malformed in MALFORMED.items():
        assert caller_of(database, make_malformed(key)) is None, change
    assert caller_of(database, key) is not None
