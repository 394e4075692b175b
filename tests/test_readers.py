"""Arrays, NIfTI and pictures: what is in the file comes out, and a bad file is one sentence."""

import gzip
import io
import os
import pickle
import struct
import zipfile
import zlib
from contextlib import suppress

import nibabel
import numpy as np
import pytest
from PIL import ExifTags, ImageOps
from PIL import Image as Picture

from tvrl_jax.data.readers import read
from tvrl_jax.errors import UserError

RNG = np.random.default_rng(0)
CINE = RNG.integers(0, 60000, (5, 6, 7), dtype=np.uint16)


def refused(path, *words):
    with pytest.raises(UserError) as error:
        read(str(path))
    text = str(error.value)
    assert str(path) in text and "\n" not in text
    for word in words:
        assert word in text
    return text


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"time_s": np.array(["0", "1", "2", "3", "4"])}, "time_s must hold numbers"),
        ({"spacing_mm": np.array(["1", "1"])}, "spacing_mm must hold numbers"),
        ({"cine": CINE[:, :0]}, "frames of no pixels (its shape is (5, 0, 7))"),
    ],
)
def test_an_npz_of_the_wrong_kind_is_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **{"cine": CINE, **arrays})
    refused(tmp_path / "a.npz", words)


def test_an_npy_without_pixels_is_refused(tmp_path):
    for shape in ((12, 0, 40), (0, 4, 4), (2, 3, 0, 5, 1)):
        np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
        refused(tmp_path / "a.npy", "no frames", str(shape))


def test_npy_keeps_16_bit_values_and_every_layout(tmp_path):
    path = str(tmp_path / "a.npy")
    for shape, slices, frames in (
        ((6, 7), 1, (1, 6, 7, 1)),
        ((5, 6, 7), 1, (5, 6, 7, 1)),
        ((5, 6, 7, 3), 1, (5, 6, 7, 3)),
        ((5, 6, 7, 1), 1, (5, 6, 7, 1)),
        ((2, 5, 6, 7), 2, (5, 6, 7, 1)),
        ((2, 5, 6, 7, 3), 2, (5, 6, 7, 3)),
    ):
        array = RNG.integers(0, 60000, shape, dtype=np.uint16)
        np.save(path, array)
        images = read(path)
        assert [i.slice for i in images] == ([None] if slices == 1 else [0, 1])
        assert images[0].frame_THWC.dtype == np.uint16
        stacked = np.stack([i.frame_THWC for i in images])
        np.testing.assert_array_equal(stacked.reshape(array.shape), array)
        assert images[0].frame_THWC.shape == frames and images[0].time_T is None


def test_big_endian_and_float64_become_native(tmp_path):
    path = str(tmp_path / "a.npy")
    np.save(path, CINE.astype(">u2"))
    (image,) = read(path)
    assert image.frame_THWC.dtype.isnative
    np.testing.assert_array_equal(image.frame_THWC[..., 0], CINE)
    np.save(path, CINE.astype(np.float64) / 7)
    assert read(path)[0].frame_THWC.dtype == np.float32


def test_npz_takes_cine_its_times_and_its_spacing(tmp_path):
    path = str(tmp_path / "a.npz")
    stack = np.stack([CINE, CINE + 1])
    ms = np.array([[10.0, 20, 30, 40, 50], [11, 21, 31, 41, 51]])
    label = np.zeros((2, 5, 6, 7))
    np.savez_compressed(path, cine=stack, label=label, trigger_time_ms=ms, spacing_mm=[8, 1.2, 1.3])
    first, second = read(path)
    np.testing.assert_array_equal(second.frame_THWC[..., 0], CINE + 1)
    np.testing.assert_allclose(first.time_T, ms[0] / 1000)
    np.testing.assert_allclose(second.time_T, ms[1] / 1000)
    assert first.spacing_mm == pytest.approx((1.2, 1.3))
    assert read(path, slice=1)[0].frame_THWC[0, 0, 0, 0] == CINE[0, 0, 0] + 1
    with pytest.raises(UserError, match="no slice 2"):
        read(path, slice=2)


def test_npz_of_one_array_under_any_name_and_times_in_days(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, loop=CINE, times_days=np.arange(5.0))
    (image,) = read(path)
    np.testing.assert_allclose(image.time_T, 86400 * np.arange(5.0))


def test_npz_of_unknown_layout_lists_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", left=CINE, right=CINE)
    refused(tmp_path / "a.npz", "left", "right", "cine")
    np.savez(tmp_path / "b.npz", cine=CINE, time_s=np.arange(4))
    refused(tmp_path / "b.npz", "4 times for 5 frames")
    np.save(tmp_path / "c.npy", np.zeros((2, 2, 5, 6, 7), np.uint8))
    refused(tmp_path / "c.npy", "(2, 2, 5, 6, 7)")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 20, 30, 4), "last axis looks like colours"),
        ((5, 20, 30, 2), "last axis looks like colours"),
        *(((20, 30, channels), "(1,H,W,C is one picture)") for channels in (1, 2, 3, 4)),
        ((5, 3, 20, 30), "second axis may be colours or frames: use T,H,W,C"),
    ],
)
def test_colours_where_frames_or_columns_belong_are_refused(tmp_path, shape, words):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    refused(tmp_path / "a.npy", str(shape), words)
    np.savez(tmp_path / "a.npz", cine=np.zeros(shape, np.uint8))
    refused(tmp_path / "a.npz", str(shape), words)


@pytest.mark.parametrize(
    ("shape", "slices", "frame"),
    [
        ((5, 20, 30, 3), 1, (20, 30, 3)),
        ((5, 20, 30, 1), 1, (20, 30, 1)),
        ((5, 2, 20, 30), 5, (20, 30, 1)),
        ((5, 4, 20, 30), 5, (20, 30, 1)),
        ((5, 3, 20, 30, 1), 5, (20, 30, 1)),
        ((2, 3, 20, 30, 3), 2, (20, 30, 3)),
        ((3, 20, 30), 1, (20, 30, 1)),
        ((2, 3, 5, 6), 2, (5, 6, 1)),
    ],
)
def test_what_is_no_colour_is_read_as_it_is_said_to_be(tmp_path, shape, slices, frame):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    images = read(str(tmp_path / "a.npy"))
    assert len(images) == slices and images[0].frame_THWC.shape[1:] == frame
    assert images[0].note == ""


def test_times_tell_slices_of_three_frames_from_colours(tmp_path):
    cine = np.zeros((5, 3, 20, 30), np.uint8)
    for time in (np.arange(3.0), np.arange(15.0).reshape(5, 3)):
        np.savez(tmp_path / "a.npz", cine=cine, time_s=time)
        assert [len(image.frame_THWC) for image in read(str(tmp_path / "a.npz"))] == [3] * 5
    for shape, time in (((3, 3, 20, 30), 3), ((5, 3, 20, 30), 5)):
        np.savez(tmp_path / "a.npz", cine=np.zeros(shape, np.uint8), time_s=np.arange(time))
        refused(tmp_path / "a.npz", "colours or frames")


def test_slices_of_one_frame_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 1, 20, 30), np.uint8))
    assert [image.note for image in read(str(tmp_path / "a.npy"))] == [
        "read as slices of one frame (S,T,H,W); a cine is T,H,W"
    ] * 5


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["TVRL_EVIL"],)


def test_nothing_is_ever_unpickled(tmp_path, monkeypatch):
    monkeypatch.setenv("TVRL_EVIL", str(tmp_path / "done"))
    evil = np.empty(1, object)
    evil[0] = Evil()
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "b.npz", cine=evil, allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Evil()))
    for name in ("a.npy", "b.npz", "c.npy"):
        refused(tmp_path / name)
    assert not (tmp_path / "done").exists()


def claim_npy(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<u2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + b"\0" * 100


def test_headers_that_claim_too_much_allocate_nothing(tmp_path):
    huge = (10**6, 10**3, 10**3)
    (tmp_path / "a.npy").write_bytes(claim_npy(huge))
    refused(tmp_path / "a.npy", "claims 2,000,000,000,000 bytes")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("cine.npy", claim_npy(huge))
    refused(tmp_path / "b.npz", "claims")
    header = nibabel.Nifti1Header()
    header.set_data_shape((10_000, 10_000, 100, 100))
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    (tmp_path / "c.nii").write_bytes(header.binaryblock + b"\0" * 100)
    refused(tmp_path / "c.nii", "claims 1,000,000,000,000 bytes")
    with gzip.open(tmp_path / "d.nii.gz", "wb") as file:
        file.write(header.binaryblock + b"\0" * 100)
    refused(tmp_path / "d.nii.gz", "claims")


def test_cut_damaged_and_empty_files_are_one_sentence(tmp_path):
    np.save(tmp_path / "a.npy", CINE)
    np.savez_compressed(tmp_path / "b.npz", cine=CINE)
    write_nifti(tmp_path / "c.nii", CINE.T[:, :, None])
    write_nifti(tmp_path / "d.nii.gz", CINE.T[:, :, None])
    Picture.fromarray(RNG.integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "e.png")
    Picture.fromarray(RNG.integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "f.jpg")
    Picture.fromarray(CINE[0]).save(tmp_path / "g.tiff")
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        for cut in (content[: len(content) // 2], content[:10], b"", b"x" * 500):
            path.write_bytes(cut)
            refused(path)
    np.save(tmp_path / "h.npy", CINE[:0])
    refused(tmp_path / "h.npy", "no frames")
    np.save(tmp_path / "i.npy", np.full((2, 3, 4), np.nan))
    refused(tmp_path / "i.npy", "not finite")
    np.save(tmp_path / "j.npy", CINE.astype(complex))
    refused(tmp_path / "j.npy", "complex128")
    (tmp_path / "k.txt").write_text("hello")
    refused(tmp_path / "k.txt", "no known image format")


def write_nifti(path, array, *, zooms=(), unit=None):
    image = nibabel.Nifti1Image(array, np.eye(4))
    if unit:
        image.header.set_xyzt_units("mm", unit)
    if zooms:
        image.header.set_zooms(zooms)
    nibabel.save(image, str(path))


@pytest.mark.parametrize(("first", "magic"), [(0, b"n+1"), (0, b"ni1"), (348, b"ni1")])
def test_a_nifti_whose_pixels_are_elsewhere_is_refused(tmp_path, first, magic):
    content = bytearray(nibabel.Nifti1Image(CINE.T[:, :, None], np.eye(4)).to_bytes())
    struct.pack_into("<f", content, 108, first)  # vox_offset
    content[344:347] = magic
    (tmp_path / "a.nii").write_bytes(content)
    refused(tmp_path / "a.nii", f"byte {first}", "one .nii")


@pytest.mark.parametrize("stored", [0, 9])  # gzip's levels: 0 packs nothing, any flip is a pixel
def test_a_flipped_bit_in_a_gzipped_nifti_is_noticed(tmp_path, stored):
    path = tmp_path / "a.nii.gz"
    image = nibabel.Nifti1Image(CINE.T[:, :, None], np.eye(4))
    content = gzip.compress(image.to_bytes(), stored)
    path.write_bytes(content + bytes(512))  # padding, as of a tape, is no damage
    read(str(path))
    for at in range(len(content) - 200, len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        refused(path)
    for cut in range(1, 10):
        path.write_bytes(content[:-cut])
        refused(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_slices_times_and_spacing(tmp_path, name):
    volume = RNG.integers(-3000, 3000, (8, 6, 3, 4), dtype=np.int16)
    write_nifti(tmp_path / name, volume, zooms=(1.5, 1.25, 8, 40), unit="msec")
    images = read(str(tmp_path / name))
    assert [i.slice for i in images] == [0, 1, 2]
    assert images[1].frame_THWC.dtype == np.int16
    assert images[1].spacing_mm == pytest.approx((1.25, 1.5))
    np.testing.assert_allclose(images[1].time_T, [0, 0.04, 0.08, 0.12], atol=1e-7)
    np.testing.assert_array_equal(images[1].frame_THWC[2, :, :, 0], volume[:, :, 1, 2].T)


def test_nifti_without_a_unit_of_time_has_no_times(tmp_path):
    write_nifti(tmp_path / "a.nii", np.zeros((4, 4, 1, 3), np.int16))
    assert read(str(tmp_path / "a.nii"))[0].time_T is None


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(
    ("row", "column", "spacing"),
    [(1.5, -1.25, (1.5, 1.25)), (1.5, 0.0, None), (-0.0, 1.25, None), (np.nan, 1.0, None)],
)
def test_nifti_pixel_sizes_are_lengths_or_none(tmp_path, caplog, kind, row, column, spacing):
    image = kind(np.zeros((4, 5, 1, 3), np.int16), np.eye(4))
    header = image.header.structarr.copy()
    header["pixdim"][1:3], header["vox_offset"] = (column, row), 544 + 1  # odd, too
    content = header.tobytes().ljust(545, b"\0") + bytes(120)
    (tmp_path / "a.nii").write_bytes(content)
    assert read(str(tmp_path / "a.nii"))[0].spacing_mm == spacing
    assert not caplog.records


def test_nifti_slope_is_applied_in_float32(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, np.arange(24, dtype=np.float64).reshape(2, 3, 1, 4))
    assert read(str(path))[0].frame_THWC.dtype == np.float32
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 1, 4), np.eye(4))
    raw = bytearray(image.to_bytes())
    struct.pack_into("<ff", raw, 112, 0.5, -1.0)  # scl_slope, scl_inter
    (tmp_path / "b.nii").write_bytes(raw)
    (found,) = read(str(tmp_path / "b.nii"))
    assert found.frame_THWC.dtype == np.float32
    expected = 0.5 * np.arange(24).reshape(2, 3, 1, 4)[..., 0, :].transpose(2, 1, 0) - 1
    np.testing.assert_array_equal(found.frame_THWC[..., 0], expected)


def test_pictures_keep_16_bit_pages_and_colour(tmp_path):
    Picture.fromarray(CINE[0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(str(tmp_path / "a.png"))[0].frame_THWC[0, :, :, 0], CINE[0])
    pages = [Picture.fromarray(frame) for frame in CINE]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    (image,) = read(str(tmp_path / "b.tif"))
    np.testing.assert_array_equal(image.frame_THWC[..., 0], CINE)
    colour = RNG.integers(0, 255, (6, 7, 4), dtype=np.uint8)
    Picture.fromarray(colour).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read(str(tmp_path / "c.png"))[0].frame_THWC[0], colour[..., :3])


@pytest.mark.parametrize(("bits", "told"), [(8, False), (16, True)])
@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_that_16_bit_colour_loses_half_of_them_is_told(tmp_path, colour, channels, bits, told):
    """By PNG's types: grey, colour, and both with transparency. Grey alone keeps its bits."""
    rows = np.zeros((3, 1 + 4 * channels * bits // 8), np.uint8)  # a row begins with its filter
    size = struct.pack(">IIBBBBB", 4, 3, bits, colour, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    (image,) = read(str(tmp_path / "a.png"))
    assert ("read as 8-bit" in image.note) == (told and colour != 0)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_a_tiff_has_signs_where_it_says_so(tmp_path, kind):
    limits = np.iinfo(kind)
    grey = np.linspace(limits.min, limits.max, 12).astype(kind).reshape(3, 4)
    (tmp_path / "a.tif").write_bytes(tiff(grey))
    np.testing.assert_array_equal(read(str(tmp_path / "a.tif"))[0].frame_THWC[0, :, :, 0], grey)


def tiff(pixels: np.ndarray, packing: int = 1, pack=bytes) -> bytes:
    """A plain grey TIFF, or one of planes [C,H,W], in the byte order of its numbers, as Pillow does
    not write all of them. `pack` is called for each plane's bytes."""
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    height, width = pixels.shape[-2:]
    strips = [pack(plane.tobytes()) for plane in pixels.reshape(-1, height, width)]
    count, ends = len(strips), np.cumsum([8, *map(len, strips)]).tolist()
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    values = {256: [width], 257: [height], 258: [8 * pixels.dtype.itemsize] * count}
    values |= {259: [packing], 262: [1 if count == 1 else 2], 273: ends[:-1], 277: [count]}
    values |= {278: [height], 279: [*map(len, strips)], 284: [1 if count == 1 else 2]}
    values |= {339: [kind] * count}  # SampleFormat
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", ends[-1])
    entries, behind, start = b"", b"", ends[-1] + 2 + 12 * len(values) + 4
    for tag, numbers in values.items():
        held = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(held) > 4:
            held, behind = struct.pack(f"{order}I", start + len(behind)), behind + held
        entries += struct.pack(f"{order}HHI", tag, 3, len(numbers)) + held.ljust(4, b"\0")
    return (
        head
        + b"".join(strips)
        + struct.pack(f"{order}H", len(values))
        + entries
        + bytes(4)
        + behind
    )


def packed_bits(content: bytes) -> bytes:
    """Runs of literal bytes."""
    runs = [content[at : at + 128] for at in range(0, len(content), 128)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u2", "i2", "i4", "f4"])
def test_a_packed_tiff_may_have_any_byte_order(tmp_path, kind, order):
    grey = np.arange(12).astype(order + kind).reshape(3, 4) - np.array(5 * (kind != "u2"), kind)
    grey = grey.astype(order + kind)
    for packing, pack in ((1, bytes), (8, zlib.compress), (32773, packed_bits)):
        (tmp_path / "a.tif").write_bytes(tiff(grey, packing, pack))
        (image,) = read(str(tmp_path / "a.tif"))
        np.testing.assert_array_equal(image.frame_THWC[0, :, :, 0], grey)


@pytest.mark.parametrize("order", ["<", ">"])
def test_unpacked_planes_of_16_bits_are_refused(tmp_path, order):
    colour_CHW = RNG.integers(0, 60000, (3, 6, 7), dtype=np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(colour_CHW.astype(order + "u2")))
    refused(path, "planes of 16 bits", "PlanarConfiguration 1, or packed")
    path.write_bytes(tiff(colour_CHW.astype(order + "u2"), 8, zlib.compress))
    for expected_CHW in (colour_CHW >> 8, (colour_CHW >> 8).astype(np.uint8)):
        (image,) = read(str(path))
        np.testing.assert_array_equal(image.frame_THWC[0].transpose(2, 0, 1), expected_CHW)
        path.write_bytes(tiff((colour_CHW >> 8).astype(np.uint8)))


def test_a_jpeg_within_a_tiff_that_lacks_its_end_is_refused(tmp_path):
    grey = RNG.integers(0, 255, (64, 64), dtype=np.uint8)
    path, held = tmp_path / "a.tif", io.BytesIO()
    Picture.fromarray(grey).save(held, "JPEG")
    whole = held.getvalue()
    path.write_bytes(tiff(grey, 7, lambda _: whole))
    assert np.abs(read(str(path))[0].frame_THWC[0, ..., 0].astype(int) - grey).mean() < 20
    for cut in (whole[:-2], whole[: len(whole) // 2]):
        path.write_bytes(tiff(grey, 7, lambda _, cut=cut: cut))
        refused(path, "strip at byte 8 is packed as JPEG and has no end")
    Picture.fromarray(grey).save(path, compression="jpeg")  # its tables stand in front
    assert read(str(path))[0].frame_THWC.shape == (1, 64, 64, 1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_in_which_white_is_0_is_turned(tmp_path, kind):
    grey = np.arange(12, dtype=kind).reshape(3, 4)
    path = tmp_path / "a.tif"
    Picture.fromarray(np.iinfo(kind).max - grey).save(path)
    content = path.read_bytes()
    entry = struct.pack("<HHIH", 262, 3, 1, 1)  # PhotometricInterpretation, one short: BlackIsZero
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, entry[:-2] + b"\0\0"))
    np.testing.assert_array_equal(read(str(path))[0].frame_THWC[0, :, :, 0], grey)


@pytest.mark.parametrize(
    "what", ["a.jpg L", "a.jpg RGB", "a.png L", "a.png P", "a.webp RGB", "a.tif L", "a.tif I;16"]
)
@pytest.mark.parametrize("orientation", range(10))  # 1 to 8 are defined
def test_pictures_are_turned_as_viewers_show_them(tmp_path, what, orientation):
    name, mode = what.split()
    grey = np.arange(63, dtype=np.uint8).reshape(7, 9) * 4
    picture = Picture.fromarray(grey.astype(np.uint16) * 200) if mode == "I;16" else None
    picture = picture or Picture.fromarray(grey).convert(mode)
    exif = Picture.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(tmp_path / name, exif=exif)
    with open(tmp_path / name, "rb") as file:
        shown = ImageOps.exif_transpose(Picture.open(file))
    shown = np.asarray(shown.convert("RGB") if mode in ("P", "RGB") else shown)
    (image,) = read(str(tmp_path / name))
    np.testing.assert_array_equal(image.frame_THWC[0].squeeze(), shown)
    assert image.frame_THWC.shape[1:3] == ((9, 7) if 5 <= orientation <= 8 else (7, 9))


@pytest.mark.parametrize("packed", [{}, {"compression": "tiff_lzw"}])
def test_every_page_is_turned_once(tmp_path, packed):
    exif = Picture.Exif()
    exif[ExifTags.Base.Orientation] = 6
    pages = [Picture.fromarray(frame) for frame in CINE]
    more = dict(save_all=True, append_images=pages[1:], exif=exif)
    pages[0].save(tmp_path / "a.tif", **more, **packed)
    (image,) = read(str(tmp_path / "a.tif"))
    np.testing.assert_array_equal(image.frame_THWC[..., 0], np.rot90(CINE, -1, (1, 2)))


def test_a_picture_whose_exif_is_damaged_is_read_as_it_is(tmp_path):
    grey = RNG.integers(0, 255, (7, 9), dtype=np.uint8)
    for k, damage in enumerate((b"Exif\0\0XX", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0")):
        Picture.fromarray(grey).save(tmp_path / f"{k}.png", exif=damage)
        (image,) = read(str(tmp_path / f"{k}.png"))
        np.testing.assert_array_equal(image.frame_THWC[0, ..., 0], grey)


def test_animation_has_its_display_times(tmp_path):
    pages = [Picture.fromarray((frame >> 8).astype(np.uint8)) for frame in CINE]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=40)
    (image,) = read(str(tmp_path / "a.gif"))
    np.testing.assert_allclose(image.time_T, 0.04 * np.arange(5))
    assert "display" in image.note


@pytest.mark.parametrize("side", [16, 64])
def test_previews_within_a_camera_s_jpeg_are_no_frames(tmp_path, side):
    photo = Picture.fromarray(RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    preview = photo.resize((side, side))
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    photo.save(tmp_path / "alone.jpg")
    (image,), (alone,) = (read(str(tmp_path / name)) for name in ("a.jpg", "alone.jpg"))
    np.testing.assert_array_equal(image.frame_THWC, alone.frame_THWC)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Possibly corrupt EXIF data")
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.tif", {"compression": "raw"}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.tif", {"compression": "raw", "big_tiff": True}),
        ("a.gif", {"optimize": False}),
    ],
)
def test_a_file_that_is_cut_between_two_pages_is_not_one_of_fewer(tmp_path, name, how):
    frames = RNG.integers(0, 256, (4, 9, 7), dtype=np.uint8)
    path = tmp_path / name
    for count in (1, 4):
        first, *rest = (Picture.fromarray(frame) for frame in frames[:count])
        first.save(path, save_all=True, append_images=rest, **how)
        content = path.read_bytes()
        assert len(read(str(path))[0].frame_THWC) == count
        path.write_bytes(content + b"\0;more")  # some writers leave something there
        assert len(read(str(path))[0].frame_THWC) == count
        for cut in range(8, len(content)):
            path.write_bytes(content[:cut])
            with suppress(UserError):
                assert len(read(str(path))[0].frame_THWC) == count  # without padding, at most
                assert cut > len(content) - 16 and name == "a.tif"


def test_pages_of_different_size_are_refused(tmp_path):
    pages = [Picture.fromarray(CINE[0]), Picture.fromarray(CINE[1][:3])]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    refused(tmp_path / "a.tif", "page 1", "one size")


def test_a_picture_that_claims_a_gigantic_size_is_refused(tmp_path):
    content = bytearray(b"\x89PNG\r\n\x1a\n")
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    content += struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png")
