"""Sources that change after they were packed: packing again ends where packing afresh does."""

import io
import json
import random
import shutil
import tarfile

import pytest
from cskd_program import mpirun, run
from packing_runs import contents, dropped, folder_config, keys_in, photo, samples, save_photos, shard_files
from PIL import Image

pytestmark = pytest.mark.rotating(2)

LABELLED = 'bins = [1, 2, 3, 4, 5]\ncolumns.mean = "score"\ncolumns.split = "split"\n'


def facts(folder):
    return json.loads((folder / "shards" / "complete.json").read_text())["facts"]


def packs(path, ranks=1):
    process = mpirun(ranks, "shard", path) if ranks > 1 else run("shard", path)
    assert process.returncode == 0, process.stderr
    return process.stderr


def write_table(path, rows):
    path.write_text(
        "path,score,split\n" + "".join(f"{name},{score},{split}\n" for name, (score, split) in rows.items())
    )


@pytest.mark.parametrize("ranks", [1, 2])
def test_overwritten_deleted_and_renamed_photos(tmp_path, ranks):
    save_photos(tmp_path / "a", range(20))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    packs(path)
    for seed in (0, 1, 2):
        photo(100 + seed).save(tmp_path / "a" / f"{seed:04}.jpg", quality=90)
    for seed in (3, 4, 5):
        (tmp_path / "a" / f"{seed:04}.jpg").unlink()
    (tmp_path / "a" / "0006.jpg").rename(tmp_path / "a" / "renamed.jpg")
    text = packs(path, ranks)
    assert "source 'a' has changed since it was packed: 3 changed, 0 relabelled, 4 gone" in text
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 17 and {key: sample[1] for key, sample in samples(tmp_path / "run").items()} == {
        ("a", file.name): file.read_bytes() for file in files
    }
    assert facts(tmp_path / "run")["packed"] == 17 and facts(tmp_path / "run")["added"] == 4
    again = contents(tmp_path / "run" / "shards")
    assert "since it was packed" not in packs(path) and contents(tmp_path / "run" / "shards") == again


def test_other_scores_and_splits_of_a_table(tmp_path):
    save_photos(tmp_path / "t", range(20))
    rows = {f"{seed:04}.jpg": (1 + seed / 6, "test" if seed < 5 else "train") for seed in range(20)}
    write_table(tmp_path / "t" / "table.csv", rows)
    path = folder_config(tmp_path, [("t", "csv", tmp_path / "t" / "table.csv", LABELLED)])
    packs(path)
    for seed in range(5, 10):
        rows[f"{seed:04}.jpg"] = (4.5, "train")
    for seed in range(10, 13):
        rows[f"{seed:04}.jpg"] = (rows[f"{seed:04}.jpg"][0], "test")
    del rows["0019.jpg"]
    write_table(tmp_path / "t" / "table.csv", rows)
    text = packs(path)
    assert "source 't' has changed since it was packed: 0 changed, 8 relabelled, 1 gone" in text
    fresh = folder_config(tmp_path, [("t", "csv", tmp_path / "t" / "table.csv", LABELLED)], name="fresh")
    packs(fresh)
    assert same(samples(tmp_path / "run"), samples(tmp_path / "fresh")) and len(samples(tmp_path / "run")) == 19


def same(packed, fresh):
    if packed.keys() != fresh.keys():
        return False
    return all(
        split == fresh[key][0] and data == fresh[key][1] and (histogram is None or (histogram == fresh[key][2]).all())
        for key, (split, data, histogram) in packed.items()
    )


def test_gone_pictures_may_be_kept(tmp_path):
    save_photos(tmp_path / "a", range(12))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")], extra='when_gone = "keep"')
    packs(path)
    (tmp_path / "a" / "0003.jpg").unlink()
    photo(50).save(tmp_path / "a" / "0004.jpg", quality=90)
    assert "1 changed, 0 relabelled, 1 gone (kept: packing.when_gone)" in packs(path)
    assert keys_in(tmp_path / "run") == {("a", f"{seed:04}.jpg") for seed in range(12)}
    assert samples(tmp_path / "run")["a", "0004.jpg"][1] == (tmp_path / "a" / "0004.jpg").read_bytes()


@pytest.mark.parametrize("damage", ["folder", "pictures"])
def test_a_source_that_is_not_mounted_withdraws_nothing(tmp_path, damage):
    save_photos(tmp_path / "t", range(12))
    write_table(tmp_path / "t.csv", {f"t/{seed:04}.jpg": (3, "train") for seed in range(12)})
    sources = [("a", "folder", tmp_path / "t", ""), ("t", "csv", tmp_path / "t.csv", LABELLED)]
    path = folder_config(tmp_path, sources[:1] if damage == "folder" else sources[1:])
    packs(path)
    before = contents(tmp_path / "run" / "shards")
    for file in (tmp_path / "t").iterdir():
        file.unlink()
    process = run("shard", path)
    assert process.returncode == 3, process.stderr
    shutil.rmtree(tmp_path / "run" / "shards" / "survey")
    assert {name: value for name, value in contents(tmp_path / "run" / "shards").items()} == {
        name: value for name, value in before.items() if not name.startswith("survey/")
    }


def test_a_damaged_picture_takes_its_row_along_and_its_duplicate_stays(tmp_path):
    save_photos(tmp_path / "a", range(12))
    shutil.copy(tmp_path / "a" / "0002.jpg", tmp_path / "a" / "z-copy.jpg")
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    packs(path)
    assert dropped(tmp_path / "run") == {("a", "z-copy.jpg"): "duplicate"}
    (tmp_path / "a" / "0002.jpg").write_bytes((tmp_path / "a" / "0002.jpg").read_bytes()[:900])
    assert "1 changed, 0 relabelled, 0 gone" in packs(path)
    assert ("a", "0002.jpg") not in keys_in(tmp_path / "run") and ("a", "z-copy.jpg") in keys_in(tmp_path / "run")
    assert dropped(tmp_path / "run") == {} and facts(tmp_path / "run")["quarantined"] == 1


BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_no_turned_scaled_or_compressed_copy_of_a_test_picture_passes_the_gate(tmp_path, kind):
    save_photos(tmp_path / "a", range(100, 110))
    (tmp_path / "t").mkdir()
    for seed in range(8):
        photo(seed, (240, 160)).save(tmp_path / "t" / f"{seed:04}.jpg", quality=90)
    write_table(tmp_path / "t" / "table.csv", {f"{seed:04}.jpg": (3, "test") for seed in range(8)})
    copies = set()
    for seed in range(8):
        for what in ("turned", "scaled", "compressed"):
            orientation = seed + 1
            copy = photo(seed, (240, 160))
            if what == "scaled":
                copy = copy.resize((180, 120), Image.Resampling.BICUBIC)
            if orientation > 1:
                copy = copy.transpose(BACK[orientation])
            exif = Image.Exif()
            exif[0x0112] = orientation
            options = {} if kind == "png" else {"quality": 60 if what == "compressed" else 92}
            copy.save(tmp_path / "a" / f"{seed}-{what}.{kind}", exif=exif, **options)
            copies.add(("a", f"{seed}-{what}.{kind}"))
    path = folder_config(
        tmp_path, [("a", "folder", tmp_path / "a", ""), ("t", "csv", tmp_path / "t" / "table.csv", LABELLED)]
    )
    packs(path)
    assert copies == set(dropped(tmp_path / "run")), copies - set(dropped(tmp_path / "run"))
    assert not copies & keys_in(tmp_path / "run")


def test_a_shard_without_rows_goes(tmp_path):
    save_photos(tmp_path / "a", range(16))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    packs(path)
    first = {file.name for file in shard_files(tmp_path / "run")}
    for seed in range(16):
        photo(200 + seed).save(tmp_path / "a" / f"{seed:04}.jpg", quality=90)
    assert "16 changed" in packs(path)
    assert not first & {file.name for file in shard_files(tmp_path / "run")}
    assert len(samples(tmp_path / "run")) == 16


class Folder:
    """A folder, a tar and a table of photos, edited at random."""

    def __init__(self, folder, seed):
        self.folder = folder
        self.random = random.Random(seed)
        self.next = 0
        self.photos = {kind: {} for kind in ("plain", "tar", "table")}  # name -> (photo, score, split)
        for kind in self.photos:
            for _ in range(12):
                self.add(kind)
        self.write()

    def add(self, kind):
        self.next += 1
        self.photos[kind][f"{self.random.randrange(10**6):06}-{self.next}.jpg"] = self.content()

    def content(self):
        self.next += 1
        return (self.next, 1 + self.random.randrange(40) / 10, self.random.choice(["train", "test", "validation"]))

    def edit(self):
        for _ in range(self.random.randrange(1, 7)):
            kind = self.random.choice(list(self.photos))
            photos = self.photos[kind]
            name = self.random.choice(list(photos))
            what = self.random.choice(["add", "change", "remove", "rename", "relabel"])
            number, _, _ = photos[name]
            if what == "add":
                self.add(kind)
            elif what == "change":
                photos[name] = self.content()
            elif what == "relabel":
                photos[name] = (number, *self.content()[1:])
            elif len(photos) > 4:
                if what == "rename":
                    self.add(kind)
                    photos[list(photos)[-1]] = photos[name]
                del photos[name]
        self.write()

    def write(self):
        for kind in ("plain", "table"):
            shutil.rmtree(self.folder / kind, ignore_errors=True)
            (self.folder / kind).mkdir(parents=True)
            for name, (number, _, _) in self.photos[kind].items():
                photo(number).save(self.folder / kind / name, quality=90)
        (self.folder / "tar").mkdir(exist_ok=True)
        with tarfile.open(self.folder / "tar" / "a.tar", self.random.choice(["w", "w:gz"])) as archive:
            for name, (number, _, _) in self.photos["tar"].items():
                data = io.BytesIO()
                photo(number).save(data, "JPEG", quality=90)
                member = tarfile.TarInfo(name)
                member.size = data.tell()
                data.seek(0)
                archive.addfile(member, data)
        write_table(
            self.folder / "table" / "table.csv", {name: facts[1:] for name, facts in self.photos["table"].items()}
        )

    def sources(self):
        return [
            ("plain", "folder", self.folder / "plain", ""),
            ("tar", "webdataset", self.folder / "tar", ""),
            ("table", "csv", self.folder / "table" / "table.csv", LABELLED),
        ]


@pytest.mark.parametrize("seed", range(3))
def test_packing_again_after_random_edits_equals_packing_afresh(tmp_path, seed):
    source = Folder(tmp_path / "source", seed)
    path = folder_config(tmp_path, source.sources())
    packs(path)
    for edit in range(4):
        source.edit()
        packs(path, 1 + edit % 2)
        packs(folder_config(tmp_path, source.sources(), name=f"fresh{edit}"))
        assert same(samples(tmp_path / "run"), samples(tmp_path / f"fresh{edit}"))
