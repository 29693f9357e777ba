"""Copies of datasets on a worker's disk are fetched once, kept below a limit, and never deleted while in use."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

import worker.machine.cache
import worker.machine.held_folders
from analysis.arrays import dataset as arrays
from analysis.arrays.dataset import FILES, ImageSet
from heldout.errors import DatasetDamaged, StorageUnavailable
from models.blobs import RANGE_BYTES, BlobMissing, Blobs
from tests.e2e.running import ROOT, until
from tests.object_store import S3Server
from worker.machine.cache import hold_dataset
from worker.machine.held_folders import evict, have_noted_digests, note_digests

ROOMY = 10**12
SIDE = 20  # 400 images are 160 kB, and everything else is less than a tenth of that

# Another worker, which uses a dataset until its standard input ends. Arguments: URL, address, cache, cap.
USER = """
import sys
from pathlib import Path
from analysis.arrays.dataset import load
from models.blobs import Blobs
from worker.machine.cache import hold_dataset
url, sha256, cache, cap = sys.argv[1:]
with hold_dataset(Blobs(url), sha256, Path(cache), int(cap)) as folder:
    print(int(load(folder).images.sum()), flush=True)
    sys.stdin.read()
    print(int(load(folder).images.sum()), flush=True)
"""


@pytest.fixture
def blobs(s3_url: str) -> "Counting":
    return Counting(s3_url)


class Counting(Blobs):
    """Records the fetched keys."""

    def __init__(self, url: str, **options: float) -> None:
        super().__init__(url, **options)
        self.fetched: list[str] = []

    def chunks(self, key: str) -> Iterator[bytes]:
        self.fetched.append(key)
        return super().chunks(key)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def store(blobs: Blobs, folder: Path, value: int, count: int = 400) -> str:
    """Store a dataset whose pixels are all `value`; return its address."""
    images = ImageSet(
        images=np.full((count, SIDE, SIDE, 1), value, np.uint8),
        labels=np.zeros(count, np.int32),
        splits={name: np.arange(count) for name in arrays.SPLITS},
        classes=("one", "other"),
        value_range=(0, 255),
    )
    sha256 = arrays.compute_content_address(images)
    source = folder / f"source-{value}"
    source.mkdir()
    arrays.save(images, source)
    for name in FILES:
        blobs.put(f"datasets/{sha256}/{name}", source / name)
    return sha256


def get_size(cache: Path) -> int:
    return sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())


def list_copies(cache: Path) -> set[str]:
    return {folder.name for folder in cache.iterdir() if folder.is_dir()}


def use(blobs: Blobs, sha256: str, cache: Path, cap: int = ROOMY) -> ImageSet:
    with hold_dataset(blobs, sha256, cache, cap) as folder:
        return arrays.load(folder)


@contextmanager
def another_process(url: str, sha256: str, cache: Path, cap: int = ROOMY) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, url, sha256, str(cache), str(cap)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# --- complete, and once ----------------------------------------------------------------------------------


def test_a_copy_equals_the_stored_dataset_and_is_fetched_once(blobs, cache, tmp_path):
    sha256 = store(blobs, tmp_path, 7)
    first = use(blobs, sha256, cache)
    assert arrays.compute_content_address(first) == sha256
    assert sorted(blobs.fetched) == sorted(f"datasets/{sha256}/{name}" for name in FILES)
    use(blobs, sha256, cache)
    assert len(blobs.fetched) == len(FILES)


def test_datasets_in_a_local_store_are_not_copied(cache, tmp_path):
    local = Counting((tmp_path / "blobs").as_uri())
    sha256 = store(local, tmp_path, 7)
    with hold_dataset(local, sha256, cache, ROOMY) as folder:
        assert folder == tmp_path / "blobs" / "datasets" / sha256
    assert local.fetched == []
    assert not cache.exists()


def test_workers_that_need_a_dataset_at_the_same_time_fetch_it_once(blobs, s3_url, cache, tmp_path, s3_server):
    sha256 = store(blobs, tmp_path, 7)
    s3_server.pause()  # so that all have started before the first has it
    with ExitStack() as stack:
        processes = [stack.enter_context(another_process(s3_url, sha256, cache)) for _ in range(4)]
        until(lambda: (cache / sha256 / "fetching").exists(), "a fetch")
        threads = ThreadPoolExecutor(3)
        ours = [threads.submit(use, blobs, sha256, cache) for _ in range(3)]
        s3_server.resume()
        for process in processes:
            assert process.stdout.readline() == f"{7 * 400 * SIDE * SIDE}\n"
        assert all(use.result().images.sum() == 7 * 400 * SIDE * SIDE for use in ours)
        threads.shutdown()
    assert len(blobs.fetched) in {0, len(FILES)}  # by a thread, or by another process
    assert sorted(os.listdir(cache / sha256)) == sorted([*FILES, "lock", "fetching"])


def test_threads_of_a_worker_fetch_a_dataset_once(blobs, cache, tmp_path):
    sha256 = store(blobs, tmp_path, 7)
    with ThreadPoolExecutor(8) as threads:
        for images in threads.map(lambda _: use(blobs, sha256, cache), range(8)):
            assert arrays.compute_content_address(images) == sha256
    assert len(blobs.fetched) == len(FILES)


# --- the cap -------------------------------------------------------------------------------------------


def test_the_cache_stays_below_its_cap_and_evicts_the_least_recently_used(blobs, cache, tmp_path):
    addresses = [store(blobs, tmp_path, value) for value in range(5)]
    cap = int(3.5 * get_size(tmp_path / "source-0"))
    for sha256 in addresses[:3]:
        use(blobs, sha256, cache, cap)
    use(blobs, addresses[0], cache, cap)  # now the second is the least recently used
    use(blobs, addresses[3], cache, cap)
    assert list_copies(cache) == {addresses[0], addresses[2], addresses[3]}
    use(blobs, addresses[4], cache, cap)
    assert list_copies(cache) == {addresses[0], addresses[3], addresses[4]}
    assert get_size(cache) <= cap


def test_the_end_of_a_use_counts_as_recent_use(blobs, cache, tmp_path):
    long, short, new = (store(blobs, tmp_path, value) for value in range(3))
    cap = int(2.5 * get_size(tmp_path / "source-0"))
    with hold_dataset(blobs, long, cache, cap):
        use(blobs, short, cache, cap)
    use(blobs, new, cache, cap)
    assert list_copies(cache) == {long, new}


def test_a_copy_in_use_by_another_process_stays_even_above_the_cap(blobs, s3_url, cache, tmp_path):
    used, unused, new = (store(blobs, tmp_path, value) for value in range(1, 4))
    with another_process(s3_url, used, cache) as process:
        before = process.stdout.readline()
        use(blobs, unused, cache)
        use(blobs, new, cache, cap=1)
        evict(cache, 0)
        assert list_copies(cache) == {used}
        after, _ = process.communicate("")
        assert after == before
    evict(cache, 0)
    assert list_copies(cache) == set()


def test_a_killed_process_no_longer_holds_its_copy(blobs, s3_url, cache, tmp_path):
    sha256 = store(blobs, tmp_path, 7)
    with another_process(s3_url, sha256, cache) as process:
        process.stdout.readline()
        process.kill()
        process.wait()
        evict(cache, 0)
    assert list_copies(cache) == set()


def test_datasets_that_are_fetched_at_the_same_time_count_together(blobs, cache, tmp_path):
    """Each fetch counts the space that the others will take, not only what they have taken so far."""
    addresses = [store(blobs, tmp_path, value, count=4000) for value in range(4)]
    unused = store(blobs, tmp_path, 9, count=4000)
    use(blobs, unused, cache)
    cap = int(4.5 * get_size(tmp_path / "source-9"))
    together = threading.Barrier(4)

    def fetch(sha256: str) -> None:
        together.wait()
        with hold_dataset(blobs, sha256, cache, cap):
            together.wait()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(fetch, addresses))
    assert list_copies(cache) == set(addresses)
    assert get_size(cache) <= cap


def test_workers_that_use_and_evict_at_random_never_lose_a_copy_in_use(blobs, cache, tmp_path):
    addresses = [store(blobs, tmp_path, value, count=20) for value in range(4)]
    cap = int(1.5 * get_size(tmp_path / "source-0"))
    ends_at = time.monotonic() + 1

    def work(seed: int) -> int:
        uses, chance = 0, np.random.default_rng(seed)
        while uses < 10 or time.monotonic() < ends_at:
            sha256 = addresses[chance.integers(4)]
            with hold_dataset(blobs, sha256, cache, cap) as folder:
                time.sleep(chance.uniform(0, 0.01))
                images = arrays.load(folder)
                assert arrays.compute_content_address(images) == sha256
            if not chance.integers(5):
                evict(cache, 0)
            uses += 1
        return uses

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(work, range(6)))
    evict(cache, 0)
    assert list_copies(cache) == set()


@pytest.fixture
def before_lock_is_taken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Callable[[], object]], None]:
    """Do something between the moments when a process first opens a lock and when it takes the lock."""

    def arrange(lock: Path, do: Callable[[], object]) -> None:
        waiting, opened = [do], worker.machine.held_folders.open_lock

        def open_and_do(file: Path) -> int:
            descriptor = opened(file)
            if file == lock and waiting:
                waiting.pop()()
            return descriptor

        monkeypatch.setattr(worker.machine.held_folders, "open_lock", open_and_do)

    return arrange


def test_a_copy_that_is_removed_before_a_worker_has_its_lock_is_fetched_again(
    blobs, cache, tmp_path, before_lock_is_taken
):
    sha256 = store(blobs, tmp_path, 7)
    use(blobs, sha256, cache)
    before_lock_is_taken(cache / sha256 / "lock", lambda: shutil.rmtree(cache / sha256))
    with hold_dataset(blobs, sha256, cache, ROOMY) as folder:
        evict(cache, 0)
        assert arrays.compute_content_address(arrays.load(folder)) == sha256
    evict(cache, 0)
    assert list_copies(cache) == set()


def test_a_copy_that_was_fetched_again_meanwhile_is_not_evicted_in_place_of_the_old_one(
    blobs, cache, tmp_path, before_lock_is_taken
):
    sha256 = store(blobs, tmp_path, 7)
    use(blobs, sha256, cache)
    locks: list[int] = []

    def replace() -> None:
        shutil.rmtree(cache / sha256)
        locks.append(worker.machine.held_folders._lock_shared(cache / sha256))
        (cache / sha256 / "images.npy.part").write_bytes(b"begun")

    before_lock_is_taken(cache / sha256 / "lock", replace)
    evict(cache, 0)
    assert list_copies(cache) == {sha256}
    os.close(locks.pop())
    evict(cache, 0)
    assert list_copies(cache) == set()


# --- failures ------------------------------------------------------------------------------------------


def test_a_failed_fetch_leaves_nothing_and_the_next_succeeds(blobs, cache, tmp_path):
    sha256 = store(blobs, tmp_path, 7)
    about = blobs.read(f"datasets/{sha256}/about.json")
    blobs.delete(f"datasets/{sha256}/about.json")
    with pytest.raises(BlobMissing), hold_dataset(blobs, sha256, cache, ROOMY):
        pass
    assert list_copies(cache) == set()
    blobs.put(f"datasets/{sha256}/about.json", about)
    assert arrays.compute_content_address(use(blobs, sha256, cache)) == sha256


def test_an_outage_in_the_middle_of_a_file_leaves_nothing(
    s3_url, s3_server: S3Server, cache, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    blobs = Counting(s3_url)
    sha256 = store(blobs, tmp_path, 7, count=2 * RANGE_BYTES // SIDE**2)
    monkeypatch.setenv("AWS_TIMEOUT", "500ms")
    impatient = Counting(s3_url, retry_s=0.2)
    frozen = []

    def freeze() -> None:
        if not frozen:
            frozen.append(True)
            s3_server.pause()

    with pytest.raises(StorageUnavailable), hold_dataset(impatient, sha256, cache, ROOMY, freeze):
        pass
    assert list_copies(cache) == set()
    s3_server.resume()
    assert arrays.compute_content_address(use(blobs, sha256, cache)) == sha256


def test_a_canceled_fetch_ends_and_so_does_a_wait_for_it(blobs, cache, tmp_path):
    class Cancelled(Exception): ...

    sha256 = store(blobs, tmp_path, 7)
    fetching, cancelled = threading.Event(), threading.Event()

    def first() -> None:
        fetching.set()
        cancelled.wait(120)

    def second() -> None:
        raise Cancelled

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(lambda: hold_dataset(blobs, sha256, cache, ROOMY, first).__enter__())
        fetching.wait(120)
        with pytest.raises(Cancelled), hold_dataset(blobs, sha256, cache, ROOMY, second):
            pass
        cancelled.set()
        assert running.result() == cache / sha256
    other = store(blobs, tmp_path, 8)
    with pytest.raises(Cancelled), hold_dataset(blobs, other, cache, ROOMY, second):
        pass
    assert list_copies(cache) == {sha256}


@pytest.mark.parametrize("what", ["all", "images.npy", "lock"])
def test_a_deleted_copy_is_fetched_again(blobs, cache, tmp_path, what):
    sha256 = store(blobs, tmp_path, 7)
    use(blobs, sha256, cache)
    if what == "all":
        for file in (cache / sha256).iterdir():
            file.unlink()
        (cache / sha256).rmdir()
    else:
        (cache / sha256 / what).unlink()
    assert arrays.compute_content_address(use(blobs, sha256, cache)) == sha256
    evict(cache, 0)
    assert list_copies(cache) == set()


def test_a_killed_fetch_is_completed_by_the_next(blobs, s3_url, cache, tmp_path, s3_server):
    sha256 = store(blobs, tmp_path, 7, count=4 * RANGE_BYTES // SIDE**2)
    with another_process(s3_url, sha256, cache) as process:
        until(lambda: (cache / sha256 / "images.npy.part").exists(), "a part of a file", longest_pause_s=0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert arrays.compute_content_address(use(blobs, sha256, cache)) == sha256
    assert sorted(os.listdir(cache / sha256)) == sorted([*FILES, "lock", "fetching"])


def test_leftovers_of_a_killed_worker_count_and_are_evicted(blobs, cache, tmp_path):
    half = cache / ("a" * 64)
    going = cache / ".gone-0123"
    for folder in (half, going):
        folder.mkdir(parents=True)
        (folder / "images.npy.part").write_bytes(bytes(100_000))
    evict(cache, 200_000)
    assert list_copies(cache) == {half.name}
    evict(cache, 50_000)
    assert list_copies(cache) == set()


def test_another_programs_file_in_the_cache_does_no_harm(blobs, cache, tmp_path):
    sha256 = store(blobs, tmp_path, 7)
    cache.mkdir()
    (cache / "README").write_text("another file")
    assert arrays.compute_content_address(use(blobs, sha256, cache, cap=1)) == sha256
    evict(cache, 0)
    assert {path.name for path in cache.iterdir()} == {"README", ".making-room"}


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 2
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["layers", "weights", "note"])
def test_one_changed_bit_in_a_noted_file_or_the_note_is_noticed(tmp_path, name):
    for file in ("layers", "weights"):
        (tmp_path / file).write_bytes(file.encode())
    note_digests(tmp_path / "note", [tmp_path / "layers", tmp_path / "weights"])
    assert have_noted_digests(tmp_path / "note")
    flip(tmp_path / name, (tmp_path / name).stat().st_size // 2)
    assert not have_noted_digests(tmp_path / "note")


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("images.npy", -1),
        ("images.npy", 60),  # in its header
        ("labels.npy", -1),
        ("labels.npy", 21),  # `<i4` to `>i4`: the same bytes are other labels
        ("splits.npz", 150),
        ("splits.npz", 300),
        ("about.json", 15),
        ("about.json", 0),
    ],
)
def test_a_local_dataset_that_does_not_match_its_address_is_not_used(cache, tmp_path, name, at):
    blobs = Blobs((tmp_path / "store").as_uri())
    sha256 = store(blobs, tmp_path, 3)
    use(blobs, sha256, cache)
    file = tmp_path / "store" / "datasets" / sha256 / name
    whole = file.read_bytes()
    for damage in (lambda: flip(file, at), lambda: file.write_bytes(whole[: len(whole) * 2 // 3])):
        damage()
        with pytest.raises(DatasetDamaged, match="heldout check --deep"):
            use(blobs, sha256, cache)
        file.write_bytes(whole)
        use(blobs, sha256, cache)


def test_a_process_verifies_the_address_of_a_dataset_once(cache, tmp_path, monkeypatch):
    blobs = Blobs((tmp_path / "store").as_uri())
    sha256 = store(blobs, tmp_path, 4)
    read = []
    address = arrays.read_content_address
    monkeypatch.setattr(worker.machine.cache, "read_content_address", lambda *given: read.append(1) or address(*given))
    for _ in range(3):
        use(blobs, sha256, cache)
    assert len(read) == 1


def test_a_damaged_copy_is_fetched_again_and_a_damaged_original_is_not_copied(blobs, cache, tmp_path):
    sha256 = store(blobs, tmp_path, 5)
    expected = use(blobs, sha256, cache).images.sum()
    blobs.fetched.clear()
    flip(cache / sha256 / "images.npy", -1)
    assert use(blobs, sha256, cache).images.sum() == expected
    assert len(blobs.fetched) == len(FILES)
    flip(tmp_path / "source-5" / "images.npy", -1)
    blobs.put(f"datasets/{sha256}/images.npy", tmp_path / "source-5" / "images.npy")
    assert use(blobs, sha256, cache).images.sum() == expected, "the copy is intact"
    shutil.rmtree(cache)
    with pytest.raises(DatasetDamaged):
        use(blobs, sha256, cache)
    assert list_copies(cache) == set()
