"""DICOM: order, real times, slice positions, colour, and bad files as one sentence."""

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pydicom.examples
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from tvrl_jax.data.readers import dicom_pixels, read
from tvrl_jax.errors import UserError

RNG = np.random.default_rng(0)
CINE = RNG.integers(0, 4000, (5, 6, 7), dtype=np.uint16)


def header(pixels: np.ndarray, **values) -> Dataset:
    """A dataset of the frames [H,W] or [T,H,W], with `values` added (None leaves one out)."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.add_new("PixelData", "OW", pixels.tobytes())
    for key, value in values.items():
        if value is not None:
            setattr(data, key, value)
    return data


def save(path, data: Dataset) -> str:
    data.save_as(path, enforce_file_format=True)
    return str(path)


def folder(path, number=None, **lists) -> str:
    """The frames of CINE, one file each, written in a shuffled order of names."""
    path.mkdir(exist_ok=True)
    for k, name in enumerate([3, 0, 4, 1, 2]):
        values = {key: value[k] for key, value in lists.items()}
        save(path / f"{name}.dcm", header(CINE[k], InstanceNumber=number and number[k], **values))
    return str(path)


def refused(path, *words):
    with pytest.raises(UserError) as error:
        read(str(path))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)
    return str(error.value)


def test_folder_is_ordered_by_trigger_time(tmp_path):
    times = [12.5, 50, 90, 130, 170]
    path = folder(tmp_path / "a", number=[5, 4, 3, 2, 1], TriggerTime=times)
    (image,) = read(path)
    np.testing.assert_array_equal(image.frame_THWC[..., 0], CINE)
    np.testing.assert_allclose(image.time_T, np.array(times) / 1000)
    assert image.frame_THWC.dtype == np.uint16 and image.note == "" and image.slice is None


@pytest.mark.parametrize(
    "times, why", [([None] * 5, "no TriggerTime"), ([0] * 5, "TriggerTime repeats")]
)
def test_folder_falls_back_to_instance_number_and_says_so(tmp_path, times, why):
    path = folder(tmp_path / "a", number=[1, 2, 3, 10, 11], TriggerTime=times)
    (image,) = read(path)
    np.testing.assert_array_equal(image.frame_THWC[..., 0], CINE)
    assert image.time_T is None and image.note == f"ordered by InstanceNumber: {why}"


def test_folder_without_any_order_is_refused(tmp_path):
    refused(folder(tmp_path / "a", TriggerTime=[None] * 5), "no order", "missing")
    refused(folder(tmp_path / "b", number=[1, 1, 2, 3, 4]), "no order", "repeats")


def test_folder_with_foreign_files_and_subfolders(tmp_path):
    path = folder(tmp_path / "a", TriggerTime=[1, 2, 3, 4, 5])
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x" * 500)
    (tmp_path / "a" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "a" / "more").mkdir()
    report = header(CINE[0], SOPClassUID=BasicTextSRStorage)
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    save(tmp_path / "a" / "report.dcm", report)
    (image,) = read(path)
    assert len(image.frame_THWC) == 5
    for words in ("not DICOM: Thumbs.db", "no images: report.dcm", "folders: more"):
        assert f"left out, {words}" in image.note
    report.SOPClassUID = MRImageStorage  # an image whose header was cut
    save(tmp_path / "a" / "report.dcm", report)
    refused(path, "report.dcm")
    (tmp_path / "a" / "report.dcm").unlink()
    (tmp_path / "b").mkdir()
    refused(tmp_path / "b", "no DICOM file")


def test_positions_are_slices_along_the_normal(tmp_path):
    axes, path = [1, 0, 0, 0, 1, 0], tmp_path / "a"
    path.mkdir()
    for z in (20.0, 0.0, 10.0):
        for t in range(2):
            data = header(
                np.full((4, 4), z + t, np.uint16),
                TriggerTime=40 * t,
                ImagePositionPatient=[-5, 3, z],
                ImageOrientationPatient=axes,
                PixelSpacing=[1.5, 1.25],
            )
            save(path / f"{100 - z}-{t}.dcm", data)
    images = read(str(path))
    assert [i.slice for i in images] == [0, 1, 2]
    assert [float(i.frame_THWC[1, 0, 0, 0]) for i in images] == [1, 11, 21]
    assert images[0].spacing_mm == (1.5, 1.25)
    assert read(str(path), slice=2)[0].frame_THWC[0, 0, 0, 0] == 20


def series(path, z=(0.0,), frames=2, axes=(1, 0, 0, 0, 1, 0), name="", start=0, **values) -> str:
    """Frames at each position; a value that is a function is called for each position."""
    path.mkdir(exist_ok=True)
    for along in z:
        own = {key: value(along) if callable(value) else value for key, value in values.items()}
        for t in range(frames):
            place = dict(ImagePositionPatient=[0, 0, along], ImageOrientationPatient=list(axes))
            data = header(CINE[t], TriggerTime=start + 40 * t, **place, **own)
            save(path / f"{name}{along:g}-{t}.dcm", data)
    return str(path)


@pytest.mark.parametrize(
    ("step", "stated", "count"),
    [
        (0.01, {}, 1),  # what rounding makes of one position
        (0.01, {"SliceThickness": 8}, 1),
        (0.01, {"SpacingBetweenSlices": 0.01, "SliceThickness": 8}, 5),
        (0.04, {}, 5),  # a stack as of an eye; one of two slices must state what they are
        (0.04, {"SliceThickness": 0.04}, 5),
        (0.004, {"SliceThickness": 0.004}, 5),
    ],
)
def test_thin_slices_are_no_frames_of_one(tmp_path, step, stated, count):
    path = series(tmp_path / "a", z=[step * k for k in range(5)], frames=1, **stated)
    for n, file in enumerate(sorted((tmp_path / "a").iterdir())):
        data = pydicom.dcmread(file)
        data.TriggerTime = n
        data.save_as(file)
    assert [len(image.frame_THWC) for image in read(path)] == [5 // count] * count


@pytest.mark.parametrize("tag", ["SeriesInstanceUID", "PatientID"])
def test_two_cines_at_one_position_are_not_woven_into_one(tmp_path, tag):
    path = series(tmp_path / "a", name="a", **{tag: "1.2"})
    series(tmp_path / "a", name="b", start=20, **{tag: "1.3"})
    refused(path, "a0-0.dcm", "b0-0.dcm", f"({tag})", "keep one cine")
    for other in ("1.2", None, ""):  # the same, or not stated
        path = series(tmp_path / str(other), name="a", **{tag: "1.2"})
        series(tmp_path / str(other), name="b", frames=1, start=20, **{tag: other})
        assert len(read(path)[0].frame_THWC) == 3


@pytest.mark.parametrize(
    ("tag", "kinds"), [("ImageType", ["ORIGINAL\\M", "ORIGINAL\\P"]), ("EchoNumbers", [1, 2])]
)
def test_magnitude_and_phase_of_one_series_are_not_woven_into_one(tmp_path, tag, kinds):
    one = dict(SeriesInstanceUID="1.2")
    for k, kind in enumerate(kinds):
        series(tmp_path / "a", name="ab"[k], **one, **{tag: kind})
    for n, file in enumerate(sorted((tmp_path / "a").iterdir())):  # else there is no order
        data = pydicom.dcmread(file)
        data.InstanceNumber = n
        data.save_as(file)
    refused(tmp_path / "a", "a0-0.dcm", "b0-0.dcm", f"({tag})", "keep one cine")
    series(tmp_path / "b", name="a", **one, **{tag: kinds[0]})  # what follows may be of other kind
    series(tmp_path / "b", name="b", start=80, **one, **{tag: kinds[1]})
    dynamic = folder(
        tmp_path / "c", range(5), TriggerTime=[9] * 5, **{tag: [kinds[k > 1] for k in range(5)]}
    )
    for path, count in ((tmp_path / "b", 4), (dynamic, 5)):
        assert len(read(str(path))[0].frame_THWC) == count


def test_two_patients_are_refused_wherever_their_slices_lie(tmp_path):
    path = series(tmp_path / "a", z=(0, 8), PatientID=lambda z: f"secret{z}")
    text = refused(path, "0-0.dcm", "8-0.dcm", "two patients")
    assert "secret" not in text


def test_every_slice_of_a_stack_may_be_a_series(tmp_path):
    path = series(tmp_path / "a", z=(0, 8, 16), SeriesInstanceUID=lambda z: f"1.2.{z}")
    assert [(i.slice, len(i.frame_THWC), i.note) for i in read(path)] == [
        (0, 2, ""),
        (1, 2, ""),
        (2, 2, ""),
    ]


def test_every_frame_of_a_cine_may_be_a_series(tmp_path):
    """As some scanners export a dynamic; nothing can be woven of series of one frame."""
    for t in range(3):
        series(tmp_path / "a", name=f"{t}", frames=1, start=40 * t, SeriesInstanceUID=f"1.{t}")
    (image,) = read(str(tmp_path / "a"))
    np.testing.assert_allclose(image.time_T, [0, 0.04, 0.08])


def test_a_frame_takes_the_bytes_that_it_is_read_as():
    """Lossy colour packs 30-fold and stays bytes; a rescaled frame is float32."""
    for values, wide in (({}, 2), ({"RescaleSlope": 2.0}, 4), ({"RescaleSlope": 1.0}, 2)):
        assert dicom_pixels.unpacked("a", header(CINE[0], **values)) == wide * CINE[0].size


@pytest.mark.parametrize(
    ("scout", "words"),
    [
        (dict(axes=(0, 1, 0, 0, 0, -1)), "its slices differ in orientation: is one"),
        (dict(z=(30,), frames=1), "its slices have 1 to 2 frames: is one"),
        (dict(axes=(0, 1, 0, 0, 0, -1), frames=1), "orientation and its slices have 1 to 2 frames"),
        (dict(z=(24,), axes=(1, 0, 0, 0, 1, 0.01)), ""),
    ],
)
def test_a_scout_among_the_slices_is_told(tmp_path, scout, words):
    path = series(tmp_path / "a", z=(0, 8, 16))
    series(tmp_path / "a", name="scout", **scout)
    images = read(path)
    assert len(images) == 4
    for image in images:
        assert words in image.note and bool(words) == bool(image.note)


def test_mixed_sizes_name_both_files(tmp_path):
    path = folder(tmp_path / "a", TriggerTime=[1, 2, 3, 4, 5])
    save(tmp_path / "a" / "odd.dcm", header(CINE[0][:, :5], TriggerTime=6))
    refused(path, "odd.dcm", "(6, 5, 1)", "(6, 7, 1)", "one size")


def test_grey_and_palette_frames_are_no_cine(tmp_path):
    path = folder(tmp_path / "a", TriggerTime=[1, 2, 3, 4, 5])
    colour = header(CINE[0], TriggerTime=6, PhotometricInterpretation="PALETTE COLOR")
    save(tmp_path / "a" / "odd.dcm", colour)
    refused(path, "odd.dcm", "(6, 7, 3)", "(6, 7, 1)", "one size")


def test_multi_frame_times(tmp_path):
    path = save(tmp_path / "a.dcm", header(CINE, FrameTime="25"))
    np.testing.assert_allclose(read(path)[0].time_T, 0.025 * np.arange(5))
    np.testing.assert_array_equal(read(path)[0].frame_THWC[..., 0], CINE)
    path = save(tmp_path / "b.dcm", header(CINE, FrameTimeVector=[0, 10, 20, 30, 40]))
    np.testing.assert_allclose(read(path)[0].time_T, [0, 0.01, 0.03, 0.06, 0.1])
    path = save(tmp_path / "c.dcm", header(CINE))
    assert read(path)[0].time_T is None and "no FrameTime" in read(path)[0].note


def test_enhanced_multi_frame_has_times_and_positions_per_frame(tmp_path):
    def group(n: int) -> Dataset:
        delay, plane, item = Dataset(), Dataset(), Dataset()
        delay.NominalCardiacTriggerDelayTime = float(30 * (n // 2))
        plane.ImagePositionPatient = [0, 0, 8 * (n % 2)]
        item.CardiacSynchronizationSequence = Sequence([delay])
        item.PlanePositionSequence = Sequence([plane])
        return item

    frames = np.arange(6, dtype=np.uint16)[:, None, None] * np.ones((4, 4), np.uint16)
    shared, axes, measures = Dataset(), Dataset(), Dataset()
    axes.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [2, 3]
    shared.PlaneOrientationSequence = Sequence([axes])
    shared.PixelMeasuresSequence = Sequence([measures])
    data = header(frames, PerFrameFunctionalGroupsSequence=Sequence([group(n) for n in range(6)]))
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    lower, upper = read(save(tmp_path / "a.dcm", data))
    np.testing.assert_allclose(upper.time_T, [0, 0.03, 0.06])
    assert upper.frame_THWC[:, 0, 0, 0].tolist() == [1, 3, 5] and upper.spacing_mm == (2, 3)
    assert lower.slice == 0 and upper.slice == 1


def dynamic(path, delays, offsets, slices=1, **values) -> list:
    """The images of a file whose frames have these trigger delays and temporal offsets."""
    groups = []
    for n, (delay, offset) in enumerate(zip(delays, offsets, strict=True)):
        item, gate, moment, plane = (Dataset() for _ in range(4))
        gate.NominalCardiacTriggerDelayTime, moment.TemporalPositionTimeOffset = delay, offset
        plane.ImagePositionPatient = [0, 0, 8 * (n % slices)]
        item.CardiacSynchronizationSequence = Sequence([gate])
        item.TemporalPositionSequence = Sequence([moment])
        item.PlanePositionSequence = Sequence([plane])
        item.PlaneOrientationSequence = Sequence([Dataset()])
        item.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        groups.append(item)
    data = header(np.zeros((len(groups), 4, 4), np.uint16), **values)
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return [image.time_T.tolist() for image in read(save(path / "a.dcm", data))]


def test_a_trigger_delay_that_all_frames_of_a_slice_share_is_not_their_time(tmp_path):
    rising, steps = [0.0, 0.0, 2.0, 2.0], [0.0, 300.0, 0.0, 300.0]
    assert dynamic(tmp_path, [300.0] * 4, [0.0, 1.0, 2.0, 3.0]) == [[0, 1, 2, 3]]
    assert dynamic(tmp_path, steps, rising, slices=2) == [[0, 2], [0, 2]]  # one delay a slice
    assert dynamic(tmp_path, rising, steps, slices=2) == [[0, 0.002], [0, 0.002]]
    equal = dict(delays=[300.0] * 4, offsets=[0.0] * 4)
    assert dynamic(tmp_path, **equal, FrameTime="500") == [[0, 0.5, 1, 1.5]]
    assert dynamic(tmp_path, **equal) == [[0.3] * 4]


@pytest.mark.parametrize("name", ["MRImageFrameTypeSequence", "MREchoSequence"])
def test_magnitude_and_phase_of_one_file_are_not_woven_into_one(tmp_path, name):
    def save_frames(kinds, delays):
        groups = []
        for kind, delay in zip(kinds, delays, strict=True):
            item, gate, shown = (Dataset() for _ in range(3))
            gate.NominalCardiacTriggerDelayTime = delay
            shown.ComplexImageComponent = ("MAGNITUDE", "PHASE")[kind]
            shown.EffectiveEchoTime = float(kind)
            item.CardiacSynchronizationSequence = Sequence([gate])
            setattr(item, name, Sequence([shown]))
            groups.append(item)
        data = header(np.zeros((len(groups), 4, 4), np.uint16))
        data.PerFrameFunctionalGroupsSequence = Sequence(groups)
        return save(tmp_path / "a.dcm", data)

    refused(save_frames([0, 0, 1, 1], [0.0, 40.0] * 2), "a.dcm", "magnitude and phase", "one cine")
    (image,) = read(save_frames([0, 0, 1, 1], [0.0, 40.0, 80.0, 120.0]))
    np.testing.assert_allclose(image.time_T, [0, 0.04, 0.08, 0.12])


@pytest.mark.parametrize("moment", ["20200101120001+0100", "20200101126100"])
def test_a_damaged_moment_is_not_read_where_the_trigger_delay_says_the_time(tmp_path, moment):
    groups = []
    for n, text in enumerate(("20200101120000", moment)):
        item, gate, content = (Dataset() for _ in range(3))
        gate.NominalCardiacTriggerDelayTime = 30.0 * n
        content.FrameAcquisitionDateTime = text
        item.CardiacSynchronizationSequence = Sequence([gate])
        item.FrameContentSequence = Sequence([content])
        groups.append(item)
    data = header(np.zeros((2, 4, 4), np.uint16))
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (image,) = read(save(tmp_path / "a.dcm", data))
    np.testing.assert_allclose(image.time_T, [0, 0.03])


def test_slices_of_a_file_that_are_unlike_are_told(tmp_path):
    for frames, words in ((4, ""), (3, "its slices have 1 to 2 frames: is one of them a scout?")):
        dynamic(tmp_path, [0.0] * frames, [0.0, 1.0, 2.0, 3.0][:frames], slices=2)
        assert [image.note for image in read(str(tmp_path / "a.dcm"))] == [words] * 2


def test_monochrome1_and_rescale(tmp_path):
    inverted = header(CINE, PhotometricInterpretation="MONOCHROME1", FrameTime="1")
    found = read(save(tmp_path / "a.dcm", inverted))[0].frame_THWC
    np.testing.assert_array_equal(found[..., 0], 65535 - CINE)
    scaled = header(CINE, RescaleSlope=2, RescaleIntercept=-1000, FrameTime="1")
    found = read(save(tmp_path / "b.dcm", scaled))[0].frame_THWC
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[..., 0], 2.0 * CINE - 1000)


def test_monochrome1_is_turned_alike_whatever_the_slopes(tmp_path):
    (tmp_path / "a").mkdir()
    for k in range(3):  # the same scene
        data = header(CINE[0] // 6 * 6 // (k + 1), TriggerTime=k, RescaleSlope=k + 1)
        data.PhotometricInterpretation = "MONOCHROME1"
        save(tmp_path / "a" / f"{k}.dcm", data)
    (image,) = read(str(tmp_path / "a"))
    for frame_HWC in image.frame_THWC:
        np.testing.assert_array_equal(frame_HWC[..., 0], 65535.0 - CINE[0] // 6 * 6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_table_of_values_is_applied(tmp_path, photometric):
    table = (60000 - 7 * np.arange(4096)).astype(np.uint16)  # falls, as where film was digitised
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [len(table), 0, 16], "OD"
    lut.add_new("LUTData", "OW", table.tobytes())
    data = header(CINE, BitsStored=12, HighBit=11, ModalityLUTSequence=Sequence([lut]))
    data.PhotometricInterpretation, data.FrameTime = photometric, "1"
    expected = table[CINE] if photometric == "MONOCHROME2" else 65535 - table[CINE]
    found = read(save(tmp_path / "a.dcm", data))[0].frame_THWC[..., 0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_values_in_the_upper_bits_are_read_from_there(tmp_path, photometric):
    """As HighBit says, unless it cannot be: then they are in the lower bits, where others write."""
    stated = dict(BitsStored=12, FrameTime="1", PhotometricInterpretation=photometric)
    files = {
        "low": header(CINE, HighBit=11, **stated),
        "upper": header(CINE << 4, HighBit=15, **stated),
        "wrong": header(CINE, HighBit=15, **stated),
        "overlaid": header(CINE | 0x8000, HighBit=11, **stated),
    }
    files["runs"] = header(CINE << 4, **{**stated, "BitsStored": 16})
    files["runs"].compress(RLELossless)
    files["runs"].BitsStored, files["runs"].HighBit = 12, 15
    found = {k: read(save(tmp_path / f"{k}.dcm", data))[0].frame_THWC for k, data in files.items()}
    np.testing.assert_array_equal(found["runs"], found["upper"])
    for name in ("wrong", "overlaid"):
        np.testing.assert_array_equal(found[name], found["low"])
    np.testing.assert_array_equal(found["upper"] >> 4, found["low"])


def test_signed_16_bit_and_compressed(tmp_path):
    signed = (CINE.astype(np.int16) - 2000)[0]
    found = read(save(tmp_path / "a.dcm", header(signed)))[0].frame_THWC
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found[0, ..., 0], signed)
    path = pydicom.examples.get_path("jpeg2k")
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    assert read(str(path))[0].frame_THWC.shape[0] == 1


def test_colour_echo_cine_with_jpeg_frames():
    (image,) = read(str(pydicom.examples.get_path("ybr_color")))
    assert image.frame_THWC.shape == (30, 240, 320, 3) and image.frame_THWC.dtype == np.uint8
    np.testing.assert_allclose(image.time_T, 0.033333 * np.arange(30), atol=1e-9)
    # RGB, not YBR: a grey sector has nearly equal channels.
    spread = np.ptp(image.frame_THWC[:, 60:180, 100:220].astype(int), axis=-1)
    assert np.median(spread) <= 8
    assert image.spacing_mm is None  # its region is larger than the image


def test_palette_becomes_colour():
    (image,) = read(str(pydicom.examples.get_path("palette_color")))
    assert image.frame_THWC.shape[-1] == 3


def test_bad_files_are_one_sentence(tmp_path):
    path = tmp_path / "a.dcm"
    whole = save(path, header(CINE, FrameTime="25"))
    content = path.read_bytes()
    assert read(whole)
    for cut in (content[:-40], content[:300], content[:140], b"", b"x" * 500):
        path.write_bytes(cut)
        refused(path)
    save(path, header(CINE, NumberOfFrames=10**9))
    refused(path, "claims")
    refused(save(path, header(CINE, NumberOfFrames=0)), "0 frames")
    assert b"IS\x02\x005 " in content
    path.write_bytes(content.replace(b"IS\x02\x005 ", b"IS\x02\x001A"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(path)
    data = header(CINE)
    del data.PixelData
    refused(save(path, data), "no pixels")


def test_compressed_header_that_claims_too_much(tmp_path):
    data = pydicom.dcmread(pydicom.examples.get_path("ybr_color"))
    data.Rows = data.Columns = 65535
    data.NumberOfFrames = 10**6
    refused(save(tmp_path / "a.dcm", data), "claims")
    data = pydicom.dcmread(pydicom.examples.get_path("ybr_color"))
    data.NumberOfFrames = 31
    refused(save(tmp_path / "b.dcm", data))


def test_random_damage_to_a_header_never_escapes(tmp_path):
    content = Path(pydicom.examples.get_path("ybr_color")).read_bytes()
    path = tmp_path / "a.dcm"
    for _ in range(40):
        damaged = bytearray(content)
        for at in RNG.integers(128, 2500, 5):
            damaged[at] = RNG.integers(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings(), contextlib.suppress(UserError):
            warnings.simplefilter("ignore")
            read(str(path))


def test_folder_that_holds_a_cine_is_refused(tmp_path):
    save(tmp_path / "a.dcm", header(CINE, FrameTime="25"))
    refused(tmp_path, "map the file itself")
