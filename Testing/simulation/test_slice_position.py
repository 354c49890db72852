"""Single frames of a slice position, faultless and with what goes wrong in scans."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner import faults as wrong
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.noise import noise_sd_for_snr
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.segmented import LineSchedule
from CMRSimExtension.scanner.sense import noise_map_on
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.coil_placement import usual_array
from CMRSimExtension.simulation.scene import SliceScene
from CMRSimExtension.simulation.slice_position import SlicePosition, _as_shown, draw_faults
from CMRSimExtension.simulation.stream import SliceRanges, draw_slices, with_pixels
from CMRSimExtension.tagging.options import TagOptions

SIZE = 96


@pytest.fixture(scope="module")
def setting():
    """A subject, a protocol, its look and a mid-level slice."""
    subject = Subject.random(np.random.SeedSequence(7), pathology=None)
    rng = np.random.default_rng(5)
    protocol = with_pixels(Protocol.preset("siemens_1.5t"), SIZE, 1.6)
    ranges = SliceRanges(tilt_deg=0.0, shift_mm=0.0, above_mm=-30.0, below_mm=-25.0)
    grid, _ = ranges.draw_slice(rng, subject.heart_frame, protocol)
    return subject, protocol, Appearance.draw(rng, subject, protocol), grid


def _frame(setting, phase=0.3, seed=1, **keywords):
    subject, protocol, appearance, grid = setting
    return SlicePosition(subject, protocol, appearance, grid, np.random.default_rng(seed), **keywords).frame(phase)


def test_faultless_frame_is_the_plain_acquisition(setting):
    subject, protocol, appearance, grid = setting
    image, labels = _frame(setting)
    scene = SliceScene(subject, protocol, appearance, grid, 0, sub_samples=3)
    function = subject.function
    blood = appearance.blood_factors(
        subject.ejection(0.3), function.lv_ef_percent / 100.0, function.rv_ef_percent / 100.0
    )
    content = scene.beating(0.3, blood)
    acquisition = Acquisition(protocol, (SIZE, SIZE))
    whole = scene.image(content)
    free = acquisition.noise_free(whole)
    truth = scene.labels(content, "clinical")
    level = noise_sd_for_snr(free, truth > 0, protocol.snr)
    assert np.array_equal(image, acquisition.magnitude(whole, np.random.default_rng(1), level))
    assert np.array_equal(labels, truth)
    assert (truth == 2).sum() > 100


@pytest.mark.parametrize(
    "fault",
    [
        wrong.RespiratoryGhosting(6.0),
        wrong.Mistriggering(0.4),
        wrong.Arrhythmia(0.2),
        wrong.BloodFlow(1.0),
        wrong.Banding(100.0),
        wrong.Spikes(20.0, strength=0.05),
        wrong.SmallFieldOfView(0.3),
    ],
    ids=lambda fault: fault.name,
)
def test_every_fault_shows(setting, fault):
    clean, truth = _frame(setting)
    image, labels = _frame(setting, faults=(fault,))
    again, _ = _frame(setting, faults=(fault,))
    assert np.array_equal(image, again)
    assert image.shape == clean.shape == labels.shape == truth.shape
    noise = np.std(_frame(setting, seed=2)[0] - clean)
    assert np.std(image - clean) > 1.5 * noise


def _matches_in_place(image, clean):
    """Whether two images fit best where they are, within a pixel."""
    first, second = (np.fft.fft2(values - values.mean()) for values in (image, clean))
    likeness = np.fft.ifft2(first * np.conj(second)).real
    rows, columns = np.unravel_index(likeness.argmax(), likeness.shape)
    assert min(rows, SIZE - rows) <= 1 and min(columns, SIZE - columns) <= 1


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_folding_leaves_heart_and_labels_where_they_are(setting, direction):
    subject, protocol, appearance, grid = setting
    protocol = protocol.replace(phase_direction=direction)
    clean, truth = _frame((subject, protocol, appearance, grid))
    image, labels = _frame((subject, protocol, appearance, grid), faults=(wrong.SmallFieldOfView(0.35),))
    # Points of the wider grid are the same but for rounding.
    assert np.mean(labels != truth) < 0.002
    _matches_in_place(image, clean)


def test_breath_does_not_carry_the_image_off_its_labels(setting):
    clean, _ = _frame(setting)
    image, _ = _frame(setting, faults=(wrong.RespiratoryGhosting(9.0, direction=(1.0, 0.3)),))
    _matches_in_place(image, clean)


def test_labels_are_of_the_moment_that_late_triggers_saw(setting):
    subject = setting[0]
    late = 0.2 * subject.cycle_ms
    _, labels = _frame(setting, 0.0, faults=(wrong.Mistriggering(1.0, delay_ms=(late, late)),))
    _, diastole = _frame(setting, 0.0)
    _, then = _frame(setting, 0.2)
    assert np.mean(labels != then) < 0.25 * np.mean(labels != diastole)


def test_states_no_line_looks_at_do_not_matter(setting):
    subject, protocol, appearance, grid = setting
    position = SlicePosition(
        subject, protocol, appearance, grid, np.random.default_rng(1), faults=(wrong.Arrhythmia(0.2),)
    )
    hold = position._hold
    schedule = hold.schedule.of_frames([9])
    assert schedule.frames == 1 and np.array_equal(schedule.cardiac[0], hold.schedule.cardiac[9])
    few = position._states(type(hold)(schedule, hold.trigger_delays_ms), 0.0)
    all_states = position._states(hold, 0.0)
    left_out = ~np.any(few, axis=(1, 2))
    assert 0 < left_out.sum() < protocol.phases
    assert np.array_equal(few[~left_out], all_states[~left_out])
    encoding = position._receiver.acquisition.encoding
    taken = [hold_samples(type(hold)(schedule, hold.trigger_delays_ms), states, encoding, protocol)
             for states in (few, all_states)]  # fmt: skip
    assert np.array_equal(*taken)


def hold_samples(hold, states, encoding, protocol):
    """Noise-free k-space of a breath hold."""
    return hold.kspace(states, encoding, protocol, (), np.random.default_rng(0))[0]


def test_accelerated_scans_amplify_noise_and_keep_the_snr(setting):
    subject, protocol, appearance, grid = setting
    fast = protocol.replace(acceleration=2)
    draws = {}
    for name, used in (("plain", protocol), ("fast", fast)):
        position = SlicePosition(subject, used, appearance, grid, np.random.default_rng(3))
        frames = [position.frame(0.3) for _ in range(24)]
        draws[name] = np.std([image for image, _ in frames], axis=0, ddof=1)
    heart = frames[0][1] > 0
    assert draws["fast"][heart].mean() == pytest.approx(draws["plain"][heart].mean(), rel=0.05)
    factor = noise_map_on(usual_array(subject, protocol.coils), grid, 2, fast.phase_axis)[0]
    # Where there is signal, magnitude noise is that of its real part.
    bright = draws["plain"] > 0.8 * draws["plain"][heart].mean()
    ratio = (draws["fast"] / draws["plain"])[bright]
    assert np.corrcoef(ratio, factor[bright])[0, 1] > 0.3


@pytest.fixture(scope="module")
def tagged(setting):
    """`tagged(phase, time_ms, faults)`: frames of a spoiled series of hardly any noise, a line in each heartbeat."""
    subject, protocol, _, grid = setting
    protocol = protocol.replace(sequence="gre", flip_angle_deg=10.0, snr=1e4, views_per_segment=1)
    appearance = Appearance.draw(np.random.default_rng(5), subject, protocol)
    preparation = TagOptions(spacing_mm=12.0).acquisition(grid, subject.cycle_ms)

    def frame(phase, time_ms=None, faults=()):
        position = SlicePosition(
            subject, protocol, appearance, grid, np.random.default_rng(1), faults=faults, sub_samples=1,
            preparation=preparation,
        )  # fmt: skip
        return position.frame(phase, time_ms)

    return frame


def _difference(image, other):
    return np.abs(image - other).mean() / other.mean()


@pytest.mark.parametrize("phase", [0.0, 0.24])
def test_tags_in_lines_of_many_heartbeats_are_as_old_as_those_of_one_moment(setting, tagged, phase):
    cycle_ms, still = setting[0].cycle_ms, (wrong.RespiratoryGhosting(0.0),)
    plain, truth = tagged(phase, phase * cycle_ms + 10.0)
    lined, labels = tagged(phase, phase * cycle_ms + 10.0, still)
    assert np.mean(labels != truth) < 0.005
    # They fade by much more within 100 ms.
    older, _ = tagged(phase, phase * cycle_ms + 110.0, still)
    assert _difference(lined, plain) < 0.25 * _difference(older, plain)


def test_late_triggers_age_the_tags(setting, tagged):
    cycle_ms = setting[0].cycle_ms
    late = (wrong.Mistriggering(1.0, delay_ms=(0.2 * cycle_ms, 0.2 * cycle_ms)),)
    then, truth = tagged(0.6, 0.6 * cycle_ms)
    image, labels = tagged(0.4, 0.4 * cycle_ms, late)
    assert _difference(image, then) < 0.04 and np.mean(labels != truth) < 0.005


def test_a_tagged_series_ends_with_its_last_frame(setting, tagged):
    """What is asked for after it is not the first frame with its fresh tags."""
    last, truth = tagged(24 / 25, faults=(wrong.RespiratoryGhosting(0.0),))
    image, labels = tagged(0.99, faults=(wrong.RespiratoryGhosting(0.0),))
    assert np.array_equal(image, last) and np.array_equal(labels, truth)


def test_tags_are_as_old_as_the_phase_where_nothing_is_said(setting, tagged):
    assert np.array_equal(tagged(0.5)[0], tagged(0.5, 0.5 * setting[0].cycle_ms)[0])


def test_a_heart_of_one_phase_shows_its_lines_no_other(setting):
    subject, protocol, appearance, grid = setting
    with pytest.raises(InputError, match="phases is 1, and ghosting take lines"):
        _frame((subject, protocol.replace(phases=1), appearance, grid), faults=(wrong.RespiratoryGhosting(5.0),))
    _frame((subject, protocol.replace(phases=1), appearance, grid))


def test_the_moment_shown_is_a_phase_also_around_the_r_wave():
    """Lines as long before it as after it: their mean is hardly below 0, whose remainder of 1 would be 1."""
    cardiac = np.tile([0.05, 0.95], (1, 32))
    schedule = LineSchedule(np.zeros((1, 64), int), cardiac * 900.0, cardiac, np.zeros((1, 64, 2)), np.array([900.0]))
    assert 0.0 <= _as_shown(schedule)[1] < 1.0


def test_faults_are_drawn_and_recorded():
    *_, records = draw_slices(np.random.SeedSequence(3), 4, size=64, sub_samples=1, fault_share=1.0)
    assert all(record["faults"] for record in records)
    for record in records:
        for fault in record["faults"]:
            wrong.fault_from_dict(fault)
    *_, records = draw_slices(np.random.SeedSequence(3), 4, size=64, sub_samples=1, fault_share=0.0)
    assert not any(record["faults"] for record in records)


def test_kinds_of_faults():
    protocol = Protocol.preset("siemens_1.5t")
    seen = {fault.name for seed in range(200) for fault in draw_faults(np.random.default_rng(seed), protocol)}
    assert seen == set(wrong.FAULTS) - {"drift"}
    spoiled = protocol.replace(sequence="gre")
    tagged = [draw_faults(np.random.default_rng(seed), spoiled, tagged=True) for seed in range(200)]
    known = {fault.name for drawn in tagged for fault in drawn}
    assert known == seen - {"banding", "flow", "ghosting", "mistriggering"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fault_share", -0.1),
        ("fault_share", 1.2),
        ("frames_per_slice", 0),
        ("pixel_mm", (0.0, 1.5)),
        ("pixel_mm", (1.6, 1.5)),
    ],
)
def test_ranges_out_of_range(field, value):
    with pytest.raises(InputError, match=field):
        SliceRanges(**{field: value})


@pytest.mark.parametrize(("count", "size"), [(0, 64), (1, 15)])
def test_streams_of_nothing_are_refused(count, size):
    with pytest.raises(InputError, match=f"count is {count} and size {size}"):
        draw_slices(np.random.SeedSequence(1), count, size=size)


def test_a_range_of_slices_that_no_heart_has_is_told():
    subject = Subject.random(np.random.SeedSequence(7), pathology=None)
    ranges = SliceRanges(above_mm=-90.0, below_mm=-90.0)
    with pytest.raises(InputError, match="nothing is left"):
        ranges.draw_slice(np.random.default_rng(1), subject.heart_frame, Protocol.preset("siemens_1.5t"))
