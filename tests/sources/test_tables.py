"""CSV, JSON Lines and Parquet, whole and wrong, and the layouts of Hugging Face's libraries."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from tuition.errors import UserError
from tuition.files import read_array
from tuition.origins import read_origins
from tuition.params import Columns, Data
from tuition.sources import load_source
from tuition.sources.cells import BYTES, KEPT, Opener
from tuition.sources.raw import Raw
from tuition.sources.readers import BATCH, open_csv, open_parquet
from tuition.sources.splits import write_splits as prepare

NAMES = ["cat", "dog", "eel"]
FEATURES = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (9, 9), dtype=np.uint8)


def png(index: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(index)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder for tables, and thirty images in a folder beside them."""
    (tmp_path / "pics").mkdir()
    for index in range(30):
        (tmp_path / f"pics/{index}.png").write_bytes(png(index))
    return tmp_path


def write_csv(path: Path, rows: list[dict], delimiter: str = ",", encoding: str = "utf-8") -> str:
    with path.open("w", newline="", encoding=encoding) as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return f"csv:{path}"


def write_jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return f"jsonl:{path}"


def write_parquet(path: Path, rows: list[dict]) -> str:
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return f"parquet:{path}"


WRITERS = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


def rows(count: int = 30, **more) -> list[dict]:
    return [{"image": f"pics/{i}.png", "label": NAMES[i % 3]} | more for i in range(count)]


def check_pictures(raw: Raw, indices: list[int], part: str = "train") -> None:
    assert np.array_equal(raw.parts[part].images[:, 0], np.stack([picture(index) for index in indices]))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_row_names_an_image_its_label_and_its_split(there, kind):
    table = rows()
    for index, row in enumerate(table):
        row["split"] = ("train", "Validation", "test")[min(2, index // 12)]
        row["note"] = 'a "note", in\ntwo lines ü'
    source = WRITERS[kind](there / f"t.{kind}", table)
    meta = prepare(Data(source=source), there / "data")
    assert (meta["classes"], meta["splits"]) == (NAMES, {"train": 12, "val": 12, "test": 6})
    assert read_array(there / "data/val/labels.npy").tolist() == [i % 3 for i in range(12, 24)]
    assert [place for _, place in read_origins(there / "data/val/files.csv")][:2] == [
        ("pics/12.png", None),
        ("pics/13.png", None),
    ]
    check_pictures(load_source(Data(source=source)), list(range(12)))


def test_columns_of_other_names_and_a_semicolon(there):
    table = [{"Datei": f"pics/{i}.png", "Art": NAMES[i % 3]} for i in range(30)]
    source = write_csv(there / "t.csv", table, delimiter=";", encoding="utf-8-sig")
    with pytest.raises(UserError, match=r"which column holds the images\? Set data.columns.*found Datei, Art"):
        load_source(Data(source=source))
    assert load_source(Data(source=source, columns=Columns(input="Datei", label="Art"))).classes == NAMES
    with pytest.raises(
        UserError, match=r"data.columns.label: 'Atr' is not known. Did you mean 'Art'\? Valid: Art, Datei"
    ):
        load_source(Data(source=source, columns=Columns(input="Datei", label="Atr")))


def test_a_table_without_labels_beside_a_table_with_them(there):
    pool = write_csv(there / "pool.csv", [{"file": f"pics/{i}.png"} for i in range(20)])
    few = write_csv(there / "few.csv", [{"file": f"pics/{i}.png", "kind": NAMES[i % 3]} for i in range(18, 30)])
    data = Data(source=pool, evaluation=few, columns=Columns(label="kind"))
    meta = prepare(data, there / "data")
    assert meta["splits"] == {"train": 18, "val": 6, "test": 6}
    assert meta["labelled"] == {"train": 0, "val": 6, "test": 6}
    assert any("no column 'kind' (data.columns.label); found file" in one for one in meta["warnings"])
    with pytest.raises(UserError, match=r"pool.csv: data.columns.label: 'kind' is not known"):
        load_source(data.model_copy(update={"evaluation": None}))


@pytest.mark.parametrize(
    ("labels", "classes", "first"),
    [
        (["10", "9", "2", ""], ["2", "9", "10"], [2, 1, 0, -1]),
        ([10, 9, 2, None], ["2", "9", "10"], [2, 1, 0, -1]),
        ([10.0, 9.0, 2.0, float("nan")], ["2", "9", "10"], [2, 1, 0, -1]),
        (["0", "1", "-1", "0"], ["0", "1"], [0, 1, -1, 0]),
        ([True, False, True, False], ["false", "true"], [1, 0, 1, 0]),
        (["b ", "a", " ", "10"], ["10", "a", "b"], [2, 1, -1, 0]),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_what_cells_mean_as_labels(there, kind, labels, classes, first):
    table = [{"image": f"pics/{i}.png", "label": labels[i % 4]} for i in range(12)]
    raw = load_source(Data(source=WRITERS[kind](there / f"t.{kind}", table)))
    assert (raw.classes, raw.parts["train"].labels[:4].tolist()) == (classes, first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "dev"}, r"t.csv: row 4: split: 'dev' is not known.* Valid: test, train, val, valid, validation"),
        ({"split": ""}, r"t.csv: row 4: split: '' is not known"),
        ({"label": "dgo"}, r"t.csv: row 4: label: 'dgo' is not known. Did you mean 'dog'\? Valid: cat, dog, eel"),
    ],
)
def test_cells_that_are_none_of_the_valid_ones_are_told_with_their_row(there, change, message):
    table = rows(split="train")
    table[4] |= change
    with pytest.raises(UserError, match=message):
        load_source(Data(source=write_csv(there / "t.csv", table), classes=NAMES))


def test_white_space_around_labels_and_names_that_are_nearly_one_are_told(there):
    table = rows(9)
    for row, label in enumerate(("cat", " cat", "dog", "dog\t", "Dog", "eel")):
        table[row]["label"] = label
    raw = load_source(Data(source=write_csv(there / "t.csv", table)))
    assert raw.classes == ["Dog", "cat", "dog", "eel"]
    trimmed, near = raw.warnings
    assert "2 labels are read without the white space around them, the first ' cat' (" in trimmed
    assert "t.csv: row 1)" in trimmed
    assert "'Dog' and 'dog'" in near


def test_numbers_with_fractions_are_no_classes(there):
    table = [{"image": f"pics/{i}.png", "label": str(0.5 + i)} for i in range(4)]
    with pytest.raises(UserError, match=r"t.csv: row 0: label: found 0.5: classes are names or whole numbers"):
        load_source(Data(source=write_csv(there / "t.csv", table)))


def test_missing_images_are_listed_with_their_rows(there):
    table = rows()
    table[7]["image"] = "pics/lost.png"
    table[9]["image"] = ""
    source = write_csv(there / "t.csv", table)
    with pytest.raises(UserError, match=r"2 of 30 files cannot be read \(pics/lost.png \(t.csv row 7\): No such file"):
        load_source(Data(source=source))
    raw = load_source(Data(source=source, max_unreadable=0.1))
    assert raw.rejected[1] == ("t.csv row 9", "names no file")
    check_pictures(raw, [i for i in range(30) if i not in (7, 9)])
    (there / "elsewhere").mkdir()
    elsewhere = write_csv(there / "elsewhere/t.csv", rows())
    with pytest.raises(
        UserError, match=r"none of its 30 images is there, such as .*elsewhere/pics/0.png; paths are rel"
    ):
        load_source(Data(source=elsewhere))


def test_rows_that_name_one_file_are_told(there):
    table = [*rows(), *rows(3), {"image": "pics/4.png", "label": "eel"}]
    raw = load_source(Data(source=write_csv(there / "t.csv", table)))
    assert raw.warnings == [
        "4 rows name a file that an earlier row names, such as pics/0.png (t.csv row 0 and t.csv row 30); 1 of them with another label"
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"image,label\na.png,x\nb.png,caf\xe9\n", r"not UTF-8: byte 0xe9 in line 3, at 29 bytes"),
        ("t.csv", b"im\xe9ge,label\na.png,x\n", r"not UTF-8: byte 0xe9 in line 1"),
        ("t.csv", "image,label\na.png,x\n".encode("utf-16"), "UTF-16, expected UTF-8"),
        ("t.csv", b"", "not a table: found an empty file"),
        ("t.csv", b"\nimage,label\na.png,x\n", "its first line is empty, expected one that names the columns"),
        ("t.csv", b"image,label\n", "no rows"),
        ("t.csv", b"image,label,image\na.png,x,b.png\n", "the column 'image' twice"),
        ("t.csv", b"image,label\na.png,x\nb.png,x,y\n", "Expected 2 columns, got 3"),
        ("t.jsonl", b'{"image": "a.png"}\n{"image": "a.png"\n', r"line 2: not a JSON object \(Expecting"),
        ("t.jsonl", b'{"image": "a.png", "image": "b.png"}\n', r"line 1: .*the key 'image' twice"),
        ("t.jsonl", b'[{"image": "a.png"}]\n', "line 1: found list, expected an object a line"),
        ("t.jsonl", b'{"image": "caf\xe9.png"}\n', "not UTF-8: byte 0xe9 in line 1, at 14 bytes"),
        ("t.jsonl", b'{"image": 7}\n', "row 0: the image is 7; expected the path of a file"),
        ("t.jsonl", b'{"image": "a.png", "label": ["x", "y"]}\n', "row 0: label: .*several labels a sample"),
        ("t.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer"),
    ],
)
def test_damaged_tables(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_source(Data(source=f"{Path(name).suffix[1:]}:{tmp_path / name}", classes=["x", "y"]))


def test_tables_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"^data.source: csv:.*gone.csv: no such file"):
        load_source(Data(source=f"csv:{tmp_path / 'gone.csv'}"))
    with pytest.raises(UserError, match=r"a folder, expected a file; folders are folder:.* or hf:"):
        load_source(Data(source=f"parquet:{tmp_path}"))


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_images_within_parquet_come_from_its_rows(there, form):
    cells = [png(i) if form == "bytes" else {"bytes": png(i), "path": "same.png"} for i in range(30)]
    table = pa.table(
        {
            "image": pa.array(cells, pa.binary() if form == "bytes" else STRUCT),
            "label": [NAMES[i % 3] for i in range(30)],
        }
    )
    parquet.write_table(table, there / "t.parquet", row_group_size=7)
    prepare(Data(source=f"parquet:{there / 't.parquet'}"), there / "data")
    places = [place for _, place in read_origins(there / "data/test/files.csv")]
    assert {file for file, _ in places} == {"t.parquet"}
    expected = np.stack([picture(row or 0) for _, row in places])
    assert np.array_equal(read_array(there / "data/test/images.npy")[:, 0], expected)


def test_cells_of_a_struct_may_name_files_and_others_are_rejected(there):
    cells = [{"bytes": None, "path": f"pics/{i}.png"} for i in range(20)] + [None, {"bytes": b"no", "path": None}]
    table = pa.table({"image": pa.array(cells, STRUCT), "label": [NAMES[i % 3] for i in range(22)]})
    parquet.write_table(table, there / "t.parquet")
    raw = load_source(Data(source=f"parquet:{there / 't.parquet'}", max_unreadable=0.2))
    check_pictures(raw, list(range(20)))
    assert raw.rejected == [
        ("t.parquet row 20", "holds no image"),
        ("t.parquet row 21", "not an image that Pillow can read"),
    ]


def test_pixels_in_lists_are_refused(there):
    write_parquet(there / "t.parquet", [{"image": [1, 2], "label": 0}])
    with pytest.raises(
        UserError, match=r"column 'image' holds list<.*>; expected paths \(text\) or the bytes of image files"
    ):
        load_source(Data(source=f"parquet:{there / 't.parquet'}"))


def test_many_rows_are_streamed(tmp_path):
    with (tmp_path / "t.csv").open("w") as file:
        file.write("image,label\n")
        file.writelines(f"pics/{i}.png,{i % 7}\n" for i in range(150_000))
    batches = open_csv(tmp_path / "t.csv", "t.csv").batches(["image", "label"])
    sizes = [len(images) for images, _ in batches]
    assert (sum(sizes), max(sizes) < 80_000) == (150_000, True)
    cells = [bytes([i % 251]) for i in range(20_000)]
    parquet.write_table(pa.table({"image": pa.array(cells, pa.binary())}), tmp_path / "t.parquet")
    opener = Opener([open_parquet(tmp_path / "t.parquet", "t")], [BYTES], "image", [0], [None] * 20_000, tmp_path)
    for row in (*range(0, 20_000, 3), 5):  # the last one begins the table anew
        assert opener._cell(0, row) == cells[row]
        assert len(opener.held) <= KEPT + BATCH


def hugging_face(layout: str, root: Path) -> None:
    """A data set as the libraries write it: a train split in two files, and a test split."""
    schema = pa.schema(
        [("image", STRUCT), ("label", pa.int64())], {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    )

    def table(indices: range) -> pa.Table:
        cells = [{"bytes": png(i), "path": None} for i in indices]
        return pa.table({"image": pa.array(cells, STRUCT), "label": [i % 3 for i in indices]}).cast(schema)

    splits = {"train": [range(0, 12), range(12, 20)], "test": [range(20, 30)]}
    for split, shards in splits.items():
        names = [f"{n:05}-of-{len(shards):05}" for n in range(len(shards))]
        folder = root / split if layout == "saved" else root / "data"
        folder.mkdir(parents=True, exist_ok=True)
        for name, indices in zip(names, shards, strict=True):
            if layout == "parquet":
                parquet.write_table(table(indices), folder / f"{split}-{name}.parquet")
            else:
                with ipc.new_stream(folder / f"data-{name}.arrow", schema) as stream:
                    stream.write_table(table(indices), max_chunksize=5)
        if layout == "saved":
            files = [{"filename": f"data-{name}.arrow"} for name in names]
            (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": split}))
            (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    if layout == "saved":
        (root / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))


@pytest.mark.parametrize("layout", ["saved", "parquet"])
def test_data_sets_of_hugging_face(tmp_path, layout):
    hugging_face(layout, tmp_path / "set")
    raw = load_source(Data(source=f"hf:{tmp_path / 'set'}"))
    assert raw.classes == NAMES
    check_pictures(raw, list(range(20)))
    check_pictures(raw, list(range(20, 30)), "test")
    assert raw.parts["train"].labels.tolist() == [i % 3 for i in range(20)]
    assert raw.parts["train"].origins is not None
    assert raw.parts["train"].origins.place(13)[1] == 1


def test_one_split_of_a_saved_data_set_and_what_may_be_missing(tmp_path):
    hugging_face("saved", tmp_path / "set")
    check_pictures(load_source(Data(source=f"hf:{tmp_path / 'set/test'}")), list(range(20, 30)))
    (tmp_path / "set/dataset_dict.json").write_text('{"splits": ["train", "extra"]}')
    with pytest.raises(UserError, match=r"names the splits train, extra; valid are train, val, .*hf:<folder>/<split>"):
        load_source(Data(source=f"hf:{tmp_path / 'set'}"))
    shard = tmp_path / "set/test/data-00000-of-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(UserError, match=r"data-00000-of-00001.arrow: (damaged|not a readable Arrow stream)"):
        load_source(Data(source=f"hf:{tmp_path / 'set/test'}"))
    shard.unlink()
    with pytest.raises(UserError, match=r"no such file: data-00000-of-00001.arrow, which state.json names"):
        load_source(Data(source=f"hf:{tmp_path / 'set/test'}"))


def test_imagefolder_with_and_without_a_table(there):
    table = [{"file_name": f"{i}.png", "label": NAMES[i % 3]} for i in range(30)]
    write_csv(there / "pics/metadata.csv", table)
    raw = load_source(Data(source=f"hf:{there / 'pics'}"))
    assert (raw.classes, raw.parts["train"].labels[:3].tolist()) == (NAMES, [0, 1, 2])
    (there / "set").mkdir()
    (there / "pics").rename(there / "set/train")
    raw = load_source(Data(source=f"hf:{there / 'set'}"))
    assert raw.parts["train"].origins is not None
    assert raw.parts["train"].origins.place(0) == ("train/0.png", None)
    write_csv(there / "set/train/metadata.csv", [{"file_name": "0.png", "text": "a caption"}])
    raw = load_source(Data(source=f"hf:{there / 'set'}", classes=NAMES))
    assert raw.unlabelled() == 30
