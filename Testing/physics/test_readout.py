"""The longest readout between two pulses."""

import pytest

from CMRSimExtension.physics.readout import longest_readout_ms


@pytest.mark.parametrize(("tr", "te", "longest"), [(3.2, 1.3, 2.6), (3.2, 1.9, 2.6), (3.0, 1.5, 3.0)])
def test_a_readout_ends_where_the_nearer_pulse_is(tr, te, longest):
    assert longest_readout_ms(tr, te) == pytest.approx(longest)


@pytest.mark.parametrize(("tr", "te"), [(3.0, 3.0), (3.0, 4.0), (3.0, 0.0), (0.0, 0.0), (3.0, -1.0)])
def test_no_readout_is_centred_on_an_echo_outside_the_pulses(tr, te):
    assert longest_readout_ms(tr, te) is None
