"""Streamed inputs: any reads in any order of files give the bytes of the files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.stores.folder_source import FolderSource
from tasks.weights import streaming
from tasks.weights.streaming import Read, StreamedInputs


@pytest.mark.slow
@given(data=st.data())
def test_any_reads_in_any_order_of_files(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """What is planned is read, byte for byte, in pieces of any size; also bytes that are read twice."""
    size = 300
    content = {name: bytes((seed + 7 * n) % 251 for n in range(size)) for seed, name in enumerate("ab")}
    folder = tmp_path_factory.mktemp("source")
    for name, file_content in content.items():
        (folder / name).write_bytes(file_content)
    places = st.tuples(st.sampled_from("ab"), st.integers(0, size), st.integers(0, size))
    reads = [Read(file, *sorted(ends)) for file, *ends in data.draw(st.lists(places, max_size=8))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "RANGE_BYTES", data.draw(st.integers(1, 99)))
        patch.setattr(streaming, "GAP_BYTES", data.draw(st.integers(0, 50)))
        with StreamedInputs(FolderSource(folder), reads) as inputs:
            for read in reads:
                at = read.start
                while at < read.stop:
                    count = min(data.draw(st.integers(1, 60)), read.stop - at)
                    buffer = bytearray(count)
                    inputs.read_into(memoryview(buffer), read.file, at)
                    assert buffer == content[read.file][at : at + count]
                    at += count
