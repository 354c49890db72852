"""How long a readout can last between two pulses."""


def longest_readout_ms(repetition_time_ms: float, echo_time_ms: float) -> float | None:
    """The longest readout that is centred on the echo and lies between two pulses, in ms; None if the echo does not.

    Twice the shorter of the times from pulse to echo and from echo to the next pulse. Its reciprocal is the lowest
    bandwidth per pixel, and over the number of samples it is the longest dwell time.

    Examples
    --------
    >>> longest_readout_ms(3.0, 1.0), longest_readout_ms(3.0, 1.5), longest_readout_ms(3.0, 3.0)
    (2.0, 3.0, None)
    """
    if not 0.0 < echo_time_ms < repetition_time_ms:
        return None
    return 2.0 * min(echo_time_ms, repetition_time_ms - echo_time_ms)
