"""Segmented acquisition: who sees what when, and images assembled line by line."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.breath_hold import BreathHold
from CMRSimExtension.scanner.kspace import CartesianEncoding
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.segmented import LineSchedule, assemble, assemble_adjoint, cardiac_phase, segmented
from Testing.scanner.breath_held import breath_held

PROTOCOL = Protocol(
    fov_mm=(240.0, 300.0), matrix=(72, 84), acquired_resolution_mm=(4.0, 4.2), phases=12, views_per_segment=8,
    filter="none",
)  # fmt: skip


def beating_disc(phases: int, rows: int = 72, columns: int = 84) -> np.ndarray:
    r, c = np.meshgrid((np.arange(rows) + 0.5) / rows - 0.5, (np.arange(columns) + 0.5) / columns - 0.5, indexing="ij")
    radius = 0.2 + 0.05 * np.cos(2 * np.pi * np.arange(phases) / phases)
    soft = (radius[:, None, None] - np.hypot(r, c)) / 0.02
    return (1 / (1 + np.exp(-soft))).astype(np.complex64)


@pytest.mark.parametrize("order", ["interleaved", "sequential"])
def test_every_line_is_acquired_once_in_some_heartbeat(order: str) -> None:
    schedule = segmented(PROTOCOL, np.full(8, 900.0), 900.0, order=order)
    lines = PROTOCOL.acquired_matrix[0]
    assert schedule.heartbeat.shape == (12, lines)
    assert set(schedule.heartbeat[0].tolist()) == set(range(8))
    # No heartbeat has room for more than its share.
    assert np.bincount(schedule.heartbeat[0]).max() <= int(np.ceil(lines / 8))


def test_the_lines_of_a_segment_follow_each_other_by_the_repetition_time() -> None:
    schedule = segmented(PROTOCOL, np.full(8, 900.0), 900.0)
    first_beat = np.sort(schedule.time_ms[3, schedule.heartbeat[3] == 0])
    np.testing.assert_allclose(np.diff(first_beat), PROTOCOL.repetition_time_ms)
    assert first_beat.mean() == pytest.approx(3 / 12 * 900.0, abs=PROTOCOL.repetition_time_ms)


def test_a_heartbeat_of_the_reference_length_has_its_phases_evenly_in_time() -> None:
    np.testing.assert_allclose(cardiac_phase(np.array([0.0, 200.0, 600.0]), 800.0, 800.0), [0.0, 0.25, 0.75])


def test_a_long_heartbeat_is_mostly_a_long_diastole() -> None:
    # Systole ends at 0.35 * 800 * sqrt(1.5) = 343 ms of 1200, not at 420.
    assert cardiac_phase(342.9, 1200.0, 800.0) == pytest.approx(0.35, abs=1e-3)


def test_phases_grow_steadily_through_a_heartbeat_of_any_length() -> None:
    for duration in (320.0, 800.0, 1900.0):
        phase = cardiac_phase(np.linspace(0, duration - 1e-6, 500), duration, 850.0)
        assert np.all(np.diff(phase) > 0) and 0 <= phase[0] and phase[-1] < 1


def test_lines_before_the_r_wave_see_the_end_of_the_last_heartbeat() -> None:
    schedule = segmented(PROTOCOL, np.full(8, 900.0), 900.0)
    early = (schedule.time_ms[0] < 0) & (schedule.heartbeat[0] > 0)
    assert early.any() and np.all(schedule.cardiac[0, early] > 0.9)


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_a_heart_that_stands_still_is_imaged_as_if_at_once(direction: str) -> None:
    protocol = PROTOCOL.replace(phase_direction=direction)
    still = np.repeat(beating_disc(1), 12, axis=0)
    images, _ = breath_held(still, protocol, [])
    expected = Acquisition(protocol, (72, 84)).noise_free(still)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_a_steady_rhythm_with_short_segments_images_every_phase_nearly_at_once() -> None:
    objects = beating_disc(12)
    images, _ = breath_held(objects, PROTOCOL.replace(views_per_segment=1), [])
    expected = Acquisition(PROTOCOL, (72, 84)).noise_free(objects)
    # One line a heartbeat; what is left is the 2 % variation of the heartbeats.
    assert np.abs(images - expected).max() < 0.05


def test_each_line_comes_from_the_state_of_its_own_moment() -> None:
    code = CartesianEncoding.of_protocol(PROTOCOL, (72, 84))
    states = code.forward(beating_disc(12))
    schedule = segmented(PROTOCOL, np.array([700.0, 1000.0, 850.0, 900.0]), 900.0)
    kspace = assemble(states, schedule, PROTOCOL)
    for frame, line in ((0, 3), (5, 17), (11, 40)):
        place = schedule.cardiac[frame, line] * 12
        low = int(place)
        share = place - low
        expected = (1 - share) * states[low, line] + share * states[(low + 1) % 12, line]
        np.testing.assert_allclose(kspace[frame, line], expected, atol=1e-6)


def test_assembling_is_linear_in_the_states() -> None:
    rng = np.random.default_rng(1)
    shape = (12, 2, *PROTOCOL.acquired_matrix)
    a, b = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape) for _ in range(2))
    schedule = segmented(PROTOCOL, np.array([700.0, 1000.0, 850.0]), 900.0)
    together = assemble(a + 2j * b, schedule, PROTOCOL)
    np.testing.assert_allclose(together, assemble(a, schedule, PROTOCOL) + 2j * assemble(b, schedule, PROTOCOL))


@pytest.mark.parametrize("direction", ["rows", "columns"])
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("prospective", [False, True])
def test_the_adjoint_of_assembling_is_its_adjoint(direction: str, moved: bool, prospective: bool) -> None:
    from dataclasses import replace

    rng = np.random.default_rng(2)
    protocol = PROTOCOL.replace(phase_direction=direction)
    schedule = segmented(protocol, np.array([700.0, 1000.0, 850.0]), 900.0, prospective=prospective)
    if moved:
        schedule = replace(schedule, displacement_mm=rng.normal(0.0, 5.0, (*schedule.heartbeat.shape, 2)))
    shape = (2, *protocol.acquired_matrix)
    x = rng.standard_normal((7, *shape)) + 1j * rng.standard_normal((7, *shape))
    y = rng.standard_normal((12, *shape)) + 1j * rng.standard_normal((12, *shape))
    left, right = np.vdot(y, assemble(x, schedule, protocol)), np.vdot(assemble_adjoint(y, schedule, protocol, 7), x)
    assert left == pytest.approx(right, rel=1e-10)


@pytest.mark.parametrize("changes", [{"acceleration": 2, "coils": 8}, {"partial_fourier": 0.7}])
def test_only_lines_that_are_acquired_take_time(changes: dict) -> None:
    protocol = PROTOCOL.replace(**changes)
    full, part = (segmented(p, np.full(6, 900.0), 900.0) for p in (PROTOCOL, protocol))
    assert np.ptp(part.time_ms[3]) < 0.75 * np.ptp(full.time_ms[3])


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_a_constant_displacement_moves_the_image(direction: str) -> None:
    from dataclasses import replace

    protocol = PROTOCOL.replace(phase_direction=direction)
    schedule = segmented(protocol, np.full(8, 900.0), 900.0)
    # Three pixels down and two to the left, exactly.
    moved = np.broadcast_to([3 * 240.0 / 72, -2 * 300.0 / 84], (*schedule.heartbeat.shape, 2))
    code = CartesianEncoding.of_protocol(protocol, (72, 84))
    states = np.repeat(code.forward(beating_disc(1)), 12, axis=0)
    image = np.abs(code.reconstruct(assemble(states, replace(schedule, displacement_mm=moved), protocol)))[4]
    expected = np.roll(np.abs(code.reconstruct(states[0])), (3, -2), axis=(0, 1))
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_the_ground_truth_can_be_written_down() -> None:
    import json

    hold = BreathHold.plan(PROTOCOL, [], np.random.default_rng(0), cycle_ms=900.0)
    assert len(json.loads(json.dumps(hold.as_dict()))["schedule"]["cardiac"]) == 12


def test_a_breath_hold_without_heartbeats_is_turned_down() -> None:
    with pytest.raises(InputError, match="at least one heartbeat"):
        segmented(PROTOCOL, np.array([]), 900.0)


def test_states_of_another_matrix_are_turned_down() -> None:
    with pytest.raises(InputError, match="the protocol acquires"):
        assemble(np.zeros((12, 8, 8), complex), segmented(PROTOCOL, np.full(8, 900.0), 900.0), PROTOCOL)


def test_a_line_before_its_r_wave_is_timed_from_the_one_before() -> None:
    schedule = segmented(PROTOCOL, np.array([900.0, 1000.0, 800.0]), 900.0)
    early = schedule.time_ms < 0
    assert early.any() and schedule.since_r_wave_ms.min() >= 0
    second = early & (schedule.heartbeat == 1)
    np.testing.assert_allclose(schedule.since_r_wave_ms[second], schedule.time_ms[second] + 900.0)
    np.testing.assert_array_equal(schedule.since_r_wave_ms[~early], schedule.time_ms[~early])


def test_a_line_past_the_end_of_its_heartbeat_is_timed_from_the_next_r_wave() -> None:
    durations = np.array([900.0, 500.0, 800.0])
    schedule = segmented(PROTOCOL, durations, 900.0, nominal_ms=900.0)
    late = (schedule.time_ms > 500.0) & (schedule.heartbeat == 1)
    assert late.any()
    np.testing.assert_allclose(schedule.since_r_wave_ms[late], schedule.time_ms[late] - 500.0)
    last = (schedule.time_ms > 800.0) & (schedule.heartbeat == 2)
    np.testing.assert_allclose(schedule.since_r_wave_ms[last], schedule.time_ms[last] - 800.0)
    # A segment that outlasts the heartbeat still has times that a time stamp can hold.
    slow = segmented(PROTOCOL.replace(repetition_time_ms=90.0), np.array([900.0]), 900.0)
    assert slow.time_ms.min() < -900.0 and slow.since_r_wave_ms.min() >= 0


def test_a_phase_that_rounds_up_to_one_comes_back() -> None:
    nearly = np.full((1, 2), 1.0 - 1e-8)
    schedule = LineSchedule(np.zeros((1, 2), int), nearly * 900, nearly, np.zeros((1, 2, 2)), np.array([900.0]))
    np.testing.assert_array_equal(LineSchedule.from_dict(schedule.as_dict()).cardiac, 0.0)


def test_a_schedule_comes_back_from_its_record() -> None:
    schedule = segmented(PROTOCOL, np.array([900.0, 1000.0, 800.0]), 900.0)
    again = LineSchedule.from_dict(schedule.as_dict())
    np.testing.assert_array_equal(again.heartbeat, schedule.heartbeat)
    np.testing.assert_allclose(again.time_ms, schedule.time_ms, atol=5e-4)
    np.testing.assert_allclose(again.cardiac, schedule.cardiac, atol=5e-7)
    assert again.displacement_mm.shape == schedule.displacement_mm.shape


def test_a_prospective_series_lies_between_its_trigger_and_the_end_of_its_heartbeat() -> None:
    durations, delays = np.array([900.0, 500.0, 1000.0]), np.array([0.0, 0.0, 200.0])
    schedule = segmented(PROTOCOL, durations, 900.0, delays_ms=delays, prospective=True)
    own, late = durations[schedule.heartbeat], delays[schedule.heartbeat]
    assert np.all(schedule.time_ms >= late) and np.all(schedule.time_ms < own)
    assert np.any(schedule.time_ms == late)  # what would come before the trigger comes with it
    np.testing.assert_array_equal(schedule.since_r_wave_ms, schedule.time_ms)
    # At the same times after the trigger in every heartbeat that is long enough.
    first, third = (schedule.time_ms[3, schedule.heartbeat[3] == beat] for beat in (0, 2))
    np.testing.assert_allclose(np.sort(third)[: len(first)] - 200.0, np.sort(first)[: len(third)])
    assert LineSchedule.from_dict(schedule.as_dict()).prospective


def test_what_comes_too_late_for_its_heartbeat_sees_the_heart_at_its_end() -> None:
    """Rounding must not carry such lines on to the R wave, where a tagged series has fresh tags."""
    rng = np.random.default_rng(3)
    for durations in rng.normal(900.0, 30.0, size=(40, 9)):
        schedule = segmented(PROTOCOL, durations, 900.0, delays_ms=rng.uniform(150, 350, size=9), prospective=True)
        for shown in (schedule, LineSchedule.from_dict(schedule.as_dict())):
            last = shown.time_ms > durations[shown.heartbeat] - 1.0
            assert np.any(last) and np.all(shown.cardiac[last] > 0.99)
            np.testing.assert_array_equal(shown.states(12)[0][last], 11)
            np.testing.assert_array_equal(shown.since_r_wave_ms, shown.time_ms)


@pytest.mark.parametrize("prospective", [False, True])
def test_only_a_series_without_triggers_goes_on_from_its_last_state_to_its_first(prospective: bool) -> None:
    schedule = segmented(PROTOCOL, np.full(8, 900.0), 900.0, prospective=prospective)
    for shown, other in ((0, -1), (-1, 0)):
        states = np.zeros((12, *PROTOCOL.acquired_matrix), complex)
        states[shown] = 1.0
        assert np.any(assemble(states, schedule, PROTOCOL)[other] != 0) == (not prospective)
