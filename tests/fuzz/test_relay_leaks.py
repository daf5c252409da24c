"""Nothing of the upstream is left in relayed playlists, wherever it was in the received ones."""

from fuzz.relay_leaks import FOLDER, HOST, SIGNATURE, find_leak, generate

COUNT = 1000


def test_relayed_playlists_reveal_nothing():
    assert [find_leak(seed) for seed in range(COUNT) if find_leak(seed)] == []


def test_the_generated_playlists_contain_secrets_in_many_places():
    texts = [generate(seed) for seed in range(COUNT)]

    for secret in (HOST, FOLDER, SIGNATURE):
        assert sum(secret in text for text in texts) > COUNT / 2
