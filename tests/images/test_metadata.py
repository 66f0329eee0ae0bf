import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.metadata import metadata_digest, numbers_of, read_metadata, rows_for_images


def csv(tmp_path, text):
    path = tmp_path / "known.csv"
    path.write_text(text)
    return str(path)


def keys(*names):
    return pa.chunked_array([list(names)])


def test_rows_come_in_the_order_of_the_images_with_nulls_for_those_not_there(tmp_path):
    table = read_metadata(csv(tmp_path, "age,key,place\n3,0012,sea\n,0007,\n5,x,land\n"))
    known = rows_for_images(table, keys("0007", "nowhere", "0012"))
    assert known.to_pydict() == {"age": [None, None, 3], "place": [None, None, "sea"]}
    assert np.array_equal(numbers_of(known["age"]), [np.nan, np.nan, 3], equal_nan=True)


def test_parquet_is_read_as_csv_is(tmp_path):
    columns = {"key": ["a", "b"], "seen": [True, None], "nan": [np.nan, 1.5], "kind": ["u", "v"]}
    pq.write_table(
        pa.table(columns).set_column(3, "kind", pa.array(columns["kind"]).dictionary_encode()),
        tmp_path / "k.parquet",
    )
    known = rows_for_images(read_metadata(str(tmp_path / "k.parquet")), keys("b", "a"))
    assert numbers_of(known["seen"]).tolist()[1] == 1
    assert known["kind"].to_pylist() == ["v", "u"]


def test_the_digest_is_of_the_content(tmp_path):
    first = metadata_digest(csv(tmp_path, "key,a\nx,1\n"))
    assert metadata_digest(csv(tmp_path, "key,a\nx,22\n")) != first
    assert metadata_digest(csv(tmp_path, "key,a\nx,1\n")) == first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,a\nx,1\n", "has the columns name, a; wanted are 'key'"),
        ("key\nx\n", "at least one other"),
        ("key,a\nx,1\nx,2\n", "has key 'x' twice"),
        ("key,a\nx,1\ny,2,3\n", "cannot be read as CSV or Parquet"),
        ("key,when\nx,2026-01-01\n", "column 'when' holds date32"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path, text, said):
    with pytest.raises(ImagesError, match=said) as refused:
        read_metadata(csv(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_no_file_and_no_image_in_common(tmp_path):
    with pytest.raises(ImagesError, match="is no file"):
        read_metadata(str(tmp_path / "none.csv"))
    with pytest.raises(ImagesError, match=r"such as 'a/x', those of the images such as 'x'"):
        rows_for_images(read_metadata(csv(tmp_path, "key,a\na/x,1\n")), keys("x"))
