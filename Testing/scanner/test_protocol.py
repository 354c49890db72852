"""Protocols: presets for every vendor and field, validation that names the cure, records that give them back."""

import json

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.presets import PRESETS
from CMRSimExtension.scanner.protocol import Protocol


@pytest.mark.parametrize("vendor", ["Siemens", "Philips", "GE", "Canon"])
@pytest.mark.parametrize("field_t", [1.5, 3.0])
def test_every_vendor_has_a_cine_at_both_fields(vendor: str, field_t: float) -> None:
    assert any(p.vendor == vendor and p.field_t == field_t and p.sequence == "bssfp" for p in PRESETS.values())


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_found_by_its_name(name: str) -> None:
    assert Protocol.preset(name).name == name


@pytest.mark.parametrize("protocol", [p for p in PRESETS.values() if p.phases > 1], ids=lambda p: p.name)
def test_a_cine_slice_fits_one_breath_hold(protocol: Protocol) -> None:
    # Patients hold their breath for about 20 heartbeats at the most.
    assert 3 <= protocol.heartbeats <= 20


@pytest.mark.parametrize("protocol", [p for p in PRESETS.values() if p.phases > 1], ids=lambda p: p.name)
def test_a_cine_phase_is_shorter_than_the_recommended_temporal_resolution(protocol: Protocol) -> None:
    # 45 ms or better (Kramer 2020).
    assert protocol.views_per_segment * protocol.repetition_time_ms <= 45.5


def test_the_whole_heart_preset_is_isotropic_between_nine_and_eleven_tenths_of_a_millimetre() -> None:
    protocol = Protocol.preset("whole_heart_1.5t")
    sizes = (*protocol.pixel_mm, protocol.slice_spacing_mm)
    assert all(0.9 <= size <= 1.1 for size in sizes) and max(sizes) == pytest.approx(min(sizes))


def test_phase_and_read_resolution_follow_the_phase_direction() -> None:
    vertical = Protocol(fov_mm=(320.0, 320.0), acquired_resolution_mm=(2.0, 1.6), phase_direction="rows")
    horizontal = vertical.replace(phase_direction="columns")
    assert vertical.acquired_matrix == (160, 200)
    assert horizontal.acquired_matrix == (200, 160)


def test_the_pixel_is_the_field_of_view_over_the_matrix() -> None:
    assert Protocol(fov_mm=(300.0, 360.0), matrix=(200, 240)).pixel_mm == (1.5, 1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"field_t": 2.0}, r"field_t is 2\.0; choose 1\.5 or 3\.0"),
        ({"sequence": "tse"}, "'tse'; choose from bssfp, gre"),
        ({"echo_time_ms": 3.5}, "echo_time_ms is 3.5.*shorten"),
        ({"flip_angle_deg": 200.0}, "flip_angle_deg is 200.0; choose a value from 1 to 120"),
        ({"matrix": (64, 64)}, "acquired; raise the matrix"),
        ({"matrix": (256.5, 256)}, "matrix is"),
        ({"matrix": 256}, "give two numbers"),
        ({"fov_mm": (float("nan"), 300.0)}, "fov_mm is nan"),
        ({"partial_fourier": 0.4}, "partial_fourier is 0.4"),
        ({"snr": 0.0}, "snr is 0.0"),
        ({"slices": 0}, "slices is 0"),
        ({"coils": 2, "acceleration": 4}, "4 with 2 coils"),
        ({"slice_gap_mm": -8.0}, "slice_gap_mm is -8.0"),
        ({"slices": 3.5}, "slices is 3.5; give a whole number"),
        ({"phases": 25.5}, "phases is 25.5; give a whole number"),
        ({"coils": 2.5}, "coils is 2.5; give a whole number"),
        ({"acceleration": 1.5}, "acceleration is 1.5; give a whole number"),
        ({"spokes": 40.5}, "spokes is 40.5; give a whole number"),
        ({"views_per_segment": 0.5}, "views_per_segment is 0.5; give a whole number"),
        ({"views_per_segment": float("inf")}, "views_per_segment is inf; give a whole number"),
        ({"breath_hold_heartbeats": 0}, "breath_hold_heartbeats is 0; choose"),
        ({"phases": None}, "phases is None; give a number"),
        ({"phases": "25"}, "phases is '25'; give a number"),
        ({"phases": True}, "phases is True; give a number"),
        ({"snr": "high"}, "snr is 'high'; give a number"),
        ({"segmented": "yes"}, "segmented is 'yes'; give true or false"),
        ({"segmented": True, "trajectory": "radial"}, "radial; segments are Cartesian lines: choose cartesian"),
        ({"echo_time_ms": "1.5"}, "echo_time_ms is '1.5'; give a number"),
    ],
)
def test_a_wrong_value_is_turned_down_with_its_limit(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Protocol().replace(**change)


def test_an_unknown_name_is_turned_down_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="no tr_ms; choose from .*repetition_time_ms"):
        Protocol().replace(tr_ms=3.0)


def test_an_unknown_preset_is_turned_down_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="siemens_1.5t"):
        Protocol.preset("hitachi")


def test_a_record_gives_the_protocol_back() -> None:
    protocol = Protocol.random(np.random.default_rng(4))
    assert Protocol.from_dict(json.loads(json.dumps(protocol.as_dict()))) == protocol


def test_counts_are_plain_whole_numbers_however_they_came() -> None:
    protocol = Protocol(phases=np.int64(20), coils=8.0, slices=np.int32(3))
    assert (protocol.phases, protocol.coils, protocol.slices) == (20, 8, 3)
    assert json.loads(json.dumps(protocol.as_dict()))["phases"] == 20


def test_the_same_seed_draws_the_same_protocol() -> None:
    assert Protocol.random(np.random.default_rng(1)) == Protocol.random(np.random.default_rng(1))


def test_random_protocols_are_valid_and_cover_vendors_fields_and_directions() -> None:
    rng = np.random.default_rng(0)
    drawn = [Protocol.random(rng) for _ in range(300)]
    assert {p.vendor for p in drawn} == {"Siemens", "Philips", "GE", "Canon"}
    assert {p.field_t for p in drawn} == {1.5, 3.0}
    assert {p.phase_direction for p in drawn} == {"rows", "columns"}
    assert all(0.6 < p.pixel_mm[0] < 2.2 for p in drawn)
