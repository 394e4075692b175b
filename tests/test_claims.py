"""Small files that claim, or become, very much; and files that would start something."""

import gzip
import io
import os
import struct
import zipfile
import zlib

import nibabel
import numpy as np
import pytest
from fuzz import dicoms, law, pictures
from PIL import Image as Picture
from test_bad_input import _open
from test_dicom import header, save

from tvrl_jax.data.readers import dicom_stream, read
from tvrl_jax.errors import LONGEST, UserError
from tvrl_jax.files import archive, claims
from tvrl_jax.report import alarms, metricslog, tables
from tvrl_jax.results import COLUMNS


def refused(path, *words) -> None:
    with pytest.raises(UserError) as error:
        read(str(path))
    law.check_sentence(str(error.value))
    for word in (str(path), *words):
        assert word in str(error.value)


def test_a_packed_file_has_room_for_what_packs_well_and_no_more(tmp_path):
    claims.check_packed("a", claims.SMALL, 10)
    claims.check_packed("a", 40 << 30, 1 << 30)  # a large file may become larger still
    with pytest.raises(UserError, match=r"claims 4.00 GiB and takes 9.8 KiB on the disk"):
        claims.check_packed("a", 4 << 30, 10_000)
    labels = np.zeros((300, 400, 400), np.uint8)  # 46 MiB of a volume of labels
    np.savez_compressed(tmp_path / "a.npz", cine=labels)
    assert read(str(tmp_path / "a.npz"))[0].frame_THWC.shape == (300, 400, 400, 1)


@pytest.mark.parametrize("digits", [400, 9000])
def test_a_claim_of_any_number_of_digits_is_one_sentence(digits):
    for check in (claims.check_claim, claims.check_packed):
        with pytest.raises(UserError, match="claims") as error:
            check("a", 10**digits, 100)
        law.check_sentence(str(error.value))


@pytest.mark.parametrize("packed", [False, True])
def test_frames_beyond_all_number_are_refused(tmp_path, packed):
    data = dicoms.example("JPEGLSNearLossless_16.dcm" if packed else "MR_small.dcm")
    frames = b"\x28\x00\x08\x00IS" + struct.pack("<H", 800) + b"9" * 800
    at = data.index(b"\x28\x00\x10\x00US")
    (tmp_path / "a.dcm").write_bytes(data[:at] + frames + data[at:])
    refused(tmp_path / "a.dcm")


def test_a_gzipped_volume_of_zeros_is_refused(tmp_path):
    head = bytearray(nibabel.Nifti1Image(np.zeros((4, 4, 1, 1), np.uint8), None).to_bytes()[:352])
    head[40:50] = struct.pack("<5h", 4, 1024, 1024, 1, 300)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(head) + bytes(300 << 20), 1))
    refused(path, "claims 300.0 MiB", "stored unpacked")


def test_what_lies_behind_the_pixels_of_a_gzipped_volume_is_bounded(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 1, 1), np.uint8), None).to_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(image + bytes(300 << 20), 1))
    refused(path, "claims", "made to fill memory")


@pytest.mark.parametrize("size", [0, -8, 200 << 20])
def test_notes_of_a_nifti_are_passed_over_whatever_size_they_state(tmp_path, size):
    image = nibabel.Nifti1Image(np.arange(16, dtype=np.uint8).reshape(4, 4, 1, 1), None)
    data = bytearray(image.to_bytes())
    data[108:112], data[348] = struct.pack("<f", 352 + 32), 1
    data[352:352] = struct.pack("<2i", size, 4) + bytes(24)
    (tmp_path / "a.nii").write_bytes(data)
    (found,) = read(str(tmp_path / "a.nii"))
    np.testing.assert_array_equal(found.frame_THWC.ravel(), np.arange(16).reshape(4, 4).T.ravel())


def test_an_endless_header_in_an_npz_is_refused(tmp_path):
    body = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + bytes(200 << 20)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cine.npy", body)
    refused(tmp_path / "a.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_npz_is_packed_as_numpy_packs(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as file:
        file.writestr("cine.npy", b"x" * 500)
    refused(tmp_path / "a.npz", "packed in a way that NumPy does not write")


@pytest.mark.parametrize("shape", ["(-1, 5, 6)", "(True, 5, 6)", "(1, -5, -6)"])
def test_a_shape_of_no_counts_is_refused(tmp_path, shape):
    text = f"{{'descr': '|u1', 'fortran_order': True, 'shape': {shape}, }}\n".encode()
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    (tmp_path / "a.npy").write_bytes(head + bytes(30))
    refused(tmp_path / "a.npy", "its shape is")


def test_a_member_named_twice_is_the_array_and_not_its_raw_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", cine=np.ones((2, 4, 4), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as file:
        file.writestr("cine", b"raw")
    assert read(str(tmp_path / "a.npz"))[0].frame_THWC.sum() == 32


def test_only_pictures_are_opened_as_pictures(tmp_path):
    """Pillow would hand PostScript to a program of its own, whatever the file is named."""
    (tmp_path / "a.png").write_bytes(pictures._postscript(tmp_path))
    refused(tmp_path / "a.png")
    Picture.new("L", (4, 4)).save(tmp_path / "b.png", format="PPM")
    refused(tmp_path / "b.png")


def test_a_picture_that_claims_too_much_is_refused(tmp_path):
    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    parts = [pictures._chunk(b"IHDR", head), pictures._chunk(b"IDAT", zlib.compress(b"x"))]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    refused(tmp_path / "a.png", "claims 137.3 MiB")


def test_a_deflated_dicom_that_grows_without_end_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(dicoms._deflated(np.random.default_rng(3)))
    refused(tmp_path / "a.dcm", "claims", "made to fill memory")
    (tmp_path / "b.dcm").write_bytes(dicoms.example("image_dfl.dcm"))
    assert read(str(tmp_path / "b.dcm"))[0].frame_THWC.shape == (1, 512, 512, 1)


@pytest.mark.parametrize(
    ("rows", "words"), [(0, "packed without a size"), (65535, "packed as 65535 x 10")]
)
def test_a_packed_frame_must_have_the_size_of_its_header(tmp_path, rows, words):
    data = dicoms.example("JPEGLSNearLossless_16.dcm")
    at = data.index(b"\xff\xf7") + 5
    (tmp_path / "a.dcm").write_bytes(data[:at] + struct.pack(">H", rows) + data[at + 2 :])
    refused(tmp_path / "a.dcm", words)


def test_a_packed_frame_must_have_the_colours_of_its_header(tmp_path):
    data = dicoms.example("JPEG2000.dcm")
    at = data.index(b"\xff\x4f\xff\x51") + 40
    (tmp_path / "a.dcm").write_bytes(data[:at] + struct.pack(">H", 30) + data[at + 2 :])
    refused(tmp_path / "a.dcm", "x 30 samples and the header says")


def test_files_that_lie_in_memory_together_are_bounded_together(tmp_path):
    """Each alone may grow to 96 MiB, however small it is."""
    side = 4900  # 23 MiB
    frame = io.BytesIO()
    Picture.new("L", (side, side)).save(frame, "JPEG2000", no_jp2=True)
    for k in range(5):
        image = header(np.ones((1, 1), np.uint8), InstanceNumber=k + 1)
        image.Rows = image.Columns = side
        image.file_meta.TransferSyntaxUID = dicoms.pydicom.uid.JPEG2000Lossless
        image.PixelData = dicoms.pydicom.encaps.encapsulate([frame.getvalue()])
        save(tmp_path / f"{k}.dcm", image)
    refused(tmp_path, "claims 114.5 MiB", "made to fill memory")


def test_visits_of_a_series_are_bounded_together(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "SMALL", 4000)
    monkeypatch.setattr(claims, "RATIO", 1)
    for name in "ab":
        Picture.new("L", (50, 50)).save(tmp_path / f"{name}.png")
    rows = "subject,path,t\n1,a.png,0\n1,b.png,1\n"
    with pytest.raises(
        UserError, match=r"row 3: the series with .*b\.png cannot be read: .*claims"
    ):
        _open(tmp_path, rows, columns={"time": "t"})


def test_sizes_of_packed_frames_are_found():
    for name in ("SC_rgb_jpeg_gdcm.dcm", "JPEG2000.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        image = dicoms.pydicom.dcmread(dicoms.get_testdata_file(name, download=False))
        frame = next(dicom_stream.generate_frames(image.PixelData, number_of_frames=1))
        stated = image.Rows, image.Columns, image.SamplesPerPixel
        assert dicom_stream.packed_size(frame) == stated
    assert dicom_stream.packed_size(b"\0" * 64) is None


PACKED = (
    "SC_rgb_jpeg_gdcm.dcm",
    "JPEG2000.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_RLE.dcm",
)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_packed_frame_without_its_end_is_refused(tmp_path, name, kept):
    """The files are whole but for that: decoders of JPEG and JPEG-LS fill in what is missing."""
    image = dicoms.pydicom.dcmread(dicoms.get_testdata_file(name, download=False))
    whole = next(dicom_stream.generate_frames(image.PixelData, number_of_frames=1))
    for frame, says in ((whole, ()), (whole[: 2 * int(kept * len(whole) / 2)], ("damaged",))):
        image.PixelData = dicoms.pydicom.encaps.encapsulate([frame])
        image.save_as(tmp_path / "a.dcm")
        if says:
            refused(tmp_path / "a.dcm", *says)
        else:
            assert read(str(tmp_path / "a.dcm"))[0].frame_THWC.shape[0] == 1


@pytest.mark.parametrize("name", PACKED)
def test_a_file_of_packed_frames_that_is_cut_says_so(tmp_path, name):
    data = dicoms.example(name)
    (tmp_path / "a.dcm").write_bytes(data[: len(data) * 3 // 4])
    refused(tmp_path / "a.dcm", "cut short")


def test_pixels_that_are_floats_are_named(tmp_path):
    data = header(np.ones((6, 7), np.uint16))
    data.FloatPixelData = np.ones((6, 7), np.float32).tobytes()
    del data.PixelData
    refused(save(tmp_path / "a.dcm", data), "whole numbers")


def test_a_pipe_in_a_folder_of_dicom_is_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    save(tmp_path / "a.dcm", header(np.ones((6, 7), np.uint16), InstanceNumber=1))
    (found,) = read(str(tmp_path))
    assert "left out, not DICOM: pipe.dcm" in found.note


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/kcore", "/proc/self/mem", "/dev/zero"])
def test_what_the_kernel_shows_is_no_file(tmp_path, path):
    if not os.path.exists(path):
        pytest.skip(f"{path} is not here")
    os.symlink(path, tmp_path / "b.npy")
    with pytest.raises(UserError, match=r"row 3: .*b\.npy is a pipe or a device"):
        _open(tmp_path, "subject,path\na,a.npy\nb,b.npy\n")


def test_a_sentence_stays_on_one_short_line():
    error = str(UserError("a\nb\x1b[2J\ud800\u202e" + "x" * 10**6 + " the end"))
    law.check_sentence(error)
    assert error.startswith("a\\nb\\x1b[2J\\ud800\\u202e") and error.endswith(" the end")
    assert len(error) <= LONGEST
    assert str(UserError("é is fine 中")) == "é is fine 中"


def test_a_wide_table_is_refused_at_once(tmp_path):
    names = ",".join(f"c{n}" for n in range(50_000))
    with pytest.raises(UserError, match=r"row 2 has 2 cells and the header 50000"):
        _open(tmp_path, f"{names}\na,b\n")


def test_a_time_that_its_unit_cannot_hold_is_refused(tmp_path):
    text = "subject,path,t\na,a.npy,0 1e300\n"
    with pytest.raises(UserError, match=r"a time is too large to be told in ms"):
        _open(tmp_path, text, time_unit="ms", column_unit="years", columns={"times": "t"})


@pytest.mark.parametrize("text", ["[]", "[" * 5000, "{}", '[{"name": 1}]', '["x"]', "\x00"])
def test_what_a_probe_found_is_checked_when_it_is_read_back(tmp_path, text):
    (tmp_path / "checks_linear.json").write_text(text)
    if text == "[]":
        assert alarms.load(tmp_path) == []
        return
    with pytest.raises(UserError, match=r"checks_linear\.json is damaged"):
        alarms.load(tmp_path)


@pytest.mark.parametrize("row", ['{"step": "x"}', '{"step": null}', "[" * 5000, "3"])
def test_a_row_of_metrics_has_a_number_of_its_step(tmp_path, row):
    (tmp_path / "metrics.jsonl").write_text(f'{row}\n{{"step": 1}}\n')
    with pytest.raises(UserError, match=r"line 1 is no row of metrics"):
        metricslog.read_metrics(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,b,c", "another number of cells"),
        ("m,c,t,p,1,0,auroc,0.5,0.4,0.6,inf", 'n = "inf" is not a number'),
        ("m,c,t,p,1,0,auroc,x,0.4,0.6,3", 'value = "x" is not a number'),
    ],
)
def test_a_damaged_row_of_results_is_named(tmp_path, row, words):
    (tmp_path / "results.csv").write_text(f"{','.join(COLUMNS)}\n{row}\n")
    with pytest.raises(UserError, match=words):
        tables.read_results(tmp_path / "results.csv")


def test_arrays_of_an_npz_are_read_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", **{"x/y": np.arange(3), "t": np.array("text")})
    assert set(archive.read_arrays(str(tmp_path / "a.npz"))) == {"x/y", "t"}
    assert archive.read_arrays(str(tmp_path / "a.npz"), ["t"])["t"] == "text"
